"""Configuration of the checkpoints app."""

from django.apps import AppConfig


class CheckpointsConfig(AppConfig):
    """Language models, their checkpoints and aliases."""

    name = "ftportal.checkpoints"
    label = "checkpoints"

    def ready(self) -> None:
        """Say which models are hidden from a person, and make their intake known to jobs."""
        from ftportal.accounts.sight import hidden_models_found_by
        from ftportal.checkpoints.intakes import kind
        from ftportal.checkpoints.selectors import models_hidden_from
        from ftportal.jobs.registry import register

        hidden_models_found_by(models_hidden_from)
        register(kind.INTAKE)
