"""Configuration of the checkpoints app."""

from django.apps import AppConfig


class CheckpointsConfig(AppConfig):
    """Language models, their checkpoints and aliases."""

    name = "ftportal.checkpoints"
    label = "checkpoints"

    def ready(self) -> None:
        """Have what a crash has left of a model removed."""
        from ftportal.checkpoints.services import models_sweep
        from ftportal.jobs.registry import register_sweep

        register_sweep(models_sweep)
