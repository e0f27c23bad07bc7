"""Configuration of the datasets app."""

from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    """Training batches, held-out sets and prompt sets."""

    name = "ftportal.datasets"
    label = "datasets"

    def ready(self) -> None:
        """Tell jobs how uploaded files are read."""
        from ftportal.datasets.reading import COUNT, INGEST
        from ftportal.jobs.registry import register

        register(INGEST)
        register(COUNT)
