"""Configuration of the datasets app."""

from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    """Training batches, held-out sets and prompt sets."""

    name = "ftportal.datasets"
    label = "datasets"
