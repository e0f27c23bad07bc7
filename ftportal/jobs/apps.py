"""Configuration of the jobs app."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Leased jobs and the engine processes that do them."""

    name = "ftportal.jobs"
    label = "jobs"

    def ready(self) -> None:
        """Make the portal's system checks known."""
        import ftportal.checks  # noqa: F401
