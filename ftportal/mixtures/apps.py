"""Configuration of the mixtures app."""

from django.apps import AppConfig


class MixturesConfig(AppConfig):
    """Named mixtures of batches, in versions that never change."""

    name = "ftportal.mixtures"
    label = "mixtures"
