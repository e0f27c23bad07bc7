"""Configuration of the promotions app."""

from django.apps import AppConfig


class PromotionsConfig(AppConfig):
    """Gates, the ledger, promotion and rollback."""

    name = "ftportal.promotions"
    label = "promotions"
