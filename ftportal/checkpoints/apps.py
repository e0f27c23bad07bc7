"""Configuration of the checkpoints app."""

from django.apps import AppConfig


class CheckpointsConfig(AppConfig):
    """Language models, their checkpoints and aliases."""

    name = "ftportal.checkpoints"
    label = "checkpoints"
