"""Configuration of the reviews app."""

from django.apps import AppConfig


class ReviewsConfig(AppConfig):
    """Blind spot-checks by people."""

    name = "ftportal.reviews"
    label = "reviews"
