"""Addresses of the reviews app."""

from django.urls import path

from ftportal.reviews import views
from ftportal.reviews.judging import views as judging

app_name = "reviews"
urlpatterns = [
    path("reviews/", views.reviews, name="reviews"),
    path("reviews/open/<int:pk>/", views.spot_check_open, name="open"),
    path("reviews/panel/<int:pk>/", views.checkpoint_panel, name="checkpoint_panel"),
    path("reviews/<int:pk>/", views.spot_check, name="spot_check"),
    path("reviews/<int:pk>/next/", judging.vote, name="vote"),
    path("reviews/<int:pk>/undo/", judging.vote_undo, name="undo"),
    path("reviews/<int:pk>/plan/", views.plan_change, name="plan"),
    path("reviews/<int:pk>/decide/", views.decide, name="decide"),
    path("reviews/<int:pk>/retry/", views.generation_retry, name="retry"),
]
