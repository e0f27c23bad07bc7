"""Configuration of the runs app."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    """Training runs, their recipes and metrics."""

    name = "ftportal.runs"
    label = "runs"

    def ready(self) -> None:
        """Make runs known to jobs, and guard the parents of runs that have not ended."""
        from ftportal.checkpoints.signals import checkpoint_delete_asked
        from ftportal.jobs.registry import register
        from ftportal.runs import kind

        register(kind.TRAIN)
        checkpoint_delete_asked.connect(kind.parent_needed, dispatch_uid="runs.parent_needed")
