"""Configuration of the pages app."""

from django.apps import AppConfig


class PagesConfig(AppConfig):
    """What all pages share: template tags, charts, lists."""

    name = "ftportal.pages"
    label = "pages"
