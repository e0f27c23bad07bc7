"""Configuration of the dashboard app."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """Home, compare and lineage: reads every floor, writes none."""

    name = "ftportal.dashboard"
    label = "dashboard"
