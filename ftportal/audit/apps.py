"""Configuration of the audit app."""

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """Who did what: an account that is only ever added to."""

    name = "ftportal.audit"
    label = "audit"
