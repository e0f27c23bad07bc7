"""Configuration of the checkpoints app."""

from django.apps import AppConfig


class CheckpointsConfig(AppConfig):
    """Language models, their checkpoints and aliases."""

    name = "ftportal.checkpoints"
    label = "checkpoints"

    def ready(self) -> None:
        """Make the intake of models known to jobs."""
        from ftportal.checkpoints import kind
        from ftportal.jobs.registry import register

        register(kind.INTAKE)
