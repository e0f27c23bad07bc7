"""Configuration of the learnability app."""

from django.apps import AppConfig


class LearnabilityConfig(AppConfig):
    """How likely the decisions of a batch are before anything is trained."""

    name = "ftportal.learnability"
    label = "learnability"

    def ready(self) -> None:
        """Tell jobs how decisions are scored, and guard the files that scoring reads."""
        from ftportal.checkpoints.signals import checkpoint_delete_asked
        from ftportal.jobs.registry import register
        from ftportal.learnability import kind

        register(kind.SCORE)
        checkpoint_delete_asked.connect(
            kind.checkpoint_needed, dispatch_uid="learnability.checkpoint_needed"
        )
