"""Addresses of the reviews app."""

from django.urls import path

from ftportal.reviews import views, views_judging, views_plans, views_trials, views_votes

app_name = "reviews"
urlpatterns = [
    path("reviews/", views.reviews, name="reviews"),
    path("reviews/policy/", views_plans.policy, name="policy"),
    path("reviews/open/<int:pk>/", views_plans.spot_check_open, name="open"),
    path("reviews/panel/<int:pk>/", views_plans.checkpoint_panel, name="checkpoint_panel"),
    path("reviews/try/<int:pk>/", views_trials.trials, name="trials"),
    path("reviews/tried/<int:pk>/", views_trials.trial, name="trial"),
    path("reviews/<int:pk>/", views.spot_check, name="spot_check"),
    path("reviews/<int:pk>/next/", views_judging.vote, name="vote"),
    path("reviews/<int:pk>/mine/", views_judging.mine, name="mine"),
    path("reviews/<int:pk>/votes.jsonl", views_votes.votes_jsonl, name="votes_jsonl"),
    path("reviews/<int:pk>/batch/", views_votes.chosen_batch, name="chosen_batch"),
    path("reviews/<int:pk>/undo/", views_judging.vote_undo, name="undo"),
    path("reviews/<int:pk>/items/<int:number>/", views_judging.item, name="item"),
    path("reviews/<int:pk>/items/<int:number>/answers/", views_judging.answers, name="answers"),
    path("reviews/<int:pk>/items/<int:number>/skip/", views_judging.skip, name="skip"),
    path("reviews/<int:pk>/items/<int:number>/leave/", views_judging.leave, name="leave"),
    path(
        "reviews/<int:pk>/items/<int:number>/<slug:side>.txt",
        views_judging.answer_text,
        name="answer_text",
    ),
    path("reviews/<int:pk>/plan/", views_plans.plan_change, name="plan"),
    path("reviews/<int:pk>/assign/", views_plans.assign, name="assign"),
    path("reviews/<int:pk>/close/", views_plans.close, name="close"),
    path("reviews/<int:pk>/decide/", views.decide, name="decide"),
    path("reviews/<int:pk>/retry/", views.generation_retry, name="retry"),
]
