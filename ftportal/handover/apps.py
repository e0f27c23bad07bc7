"""Configuration of the handover app."""

from django.apps import AppConfig


class HandoverConfig(AppConfig):
    """How a checkpoint leaves the portal: a folder by alias, downloads, quantised exports."""

    name = "ftportal.handover"
    label = "handover"

    def ready(self) -> None:
        """Register export jobs, follow the champion, and guard what an export still reads."""
        from ftportal.checkpoints.signals import checkpoint_delete_asked
        from ftportal.handover import kind
        from ftportal.jobs.registry import register
        from ftportal.promotions.signals import champion_changed

        register(kind.EXPORT)
        champion_changed.connect(kind.on_champion_changed, dispatch_uid="handover")
        checkpoint_delete_asked.connect(kind.source_needed, dispatch_uid="handover")
