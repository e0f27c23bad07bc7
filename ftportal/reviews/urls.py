"""Addresses of the reviews app."""

from django.urls import path

from ftportal.reviews import views, views_judging, views_votes

app_name = "reviews"
urlpatterns = [
    path("reviews/", views.reviews, name="reviews"),
    path("reviews/open/<int:pk>/", views.spot_check_open, name="open"),
    path("reviews/panel/<int:pk>/", views.checkpoint_panel, name="checkpoint_panel"),
    path("reviews/<int:pk>/", views.spot_check, name="spot_check"),
    path("reviews/<int:pk>/next/", views_judging.vote, name="vote"),
    path("reviews/<int:pk>/mine/", views_judging.mine, name="mine"),
    path("reviews/<int:pk>/votes.jsonl", views_votes.votes_jsonl, name="votes_jsonl"),
    path("reviews/<int:pk>/batch/", views_votes.chosen_batch, name="chosen_batch"),
    path("reviews/<int:pk>/undo/", views_judging.vote_undo, name="undo"),
    path("reviews/<int:pk>/items/<int:number>/", views_judging.item, name="item"),
    path("reviews/<int:pk>/items/<int:number>/answers/", views_judging.answers, name="answers"),
    path("reviews/<int:pk>/items/<int:number>/skip/", views_judging.skip, name="skip"),
    path(
        "reviews/<int:pk>/items/<int:number>/<slug:side>.txt",
        views_judging.answer_text,
        name="answer_text",
    ),
    path("reviews/<int:pk>/plan/", views.plan_change, name="plan"),
    path("reviews/<int:pk>/decide/", views.decide, name="decide"),
    path("reviews/<int:pk>/retry/", views.generation_retry, name="retry"),
]
