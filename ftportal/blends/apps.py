"""Configuration of the blends app."""

from django.apps import AppConfig


class BlendsConfig(AppConfig):
    """Checkpoints that are mixtures of a session's result and its parent."""

    name = "ftportal.blends"
    label = "blends"

    def ready(self) -> None:
        """Make blends known to jobs, and guard the files that a blend which works still reads."""
        from ftportal.blends import kind
        from ftportal.checkpoints.signals import checkpoint_delete_asked
        from ftportal.jobs.registry import register

        register(kind.BLEND)
        checkpoint_delete_asked.connect(kind.ends_needed, dispatch_uid="blends.ends_needed")
