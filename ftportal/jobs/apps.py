"""Configuration of the jobs app."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Leased jobs and the engine processes that do them."""

    name = "ftportal.jobs"
    label = "jobs"
