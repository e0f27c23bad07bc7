"""Configuration of the runs app."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    """Training runs, their recipes and metrics."""

    name = "ftportal.runs"
    label = "runs"
