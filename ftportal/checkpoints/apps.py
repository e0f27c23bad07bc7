"""Configuration of the checkpoints app."""

from django.apps import AppConfig


class CheckpointsConfig(AppConfig):
    """Language models, their checkpoints and aliases."""

    name = "ftportal.checkpoints"
    label = "checkpoints"

    def ready(self) -> None:
        """Say which language models are hidden from a person."""
        from ftportal.accounts.sight import hidden_models_found_by
        from ftportal.checkpoints.selectors import models_hidden_from

        hidden_models_found_by(models_hidden_from)
