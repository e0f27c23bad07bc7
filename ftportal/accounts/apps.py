"""Configuration of the accounts app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People and their roles."""

    name = "ftportal.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Know sessions by their browser, and write down who logs in."""
        from django.contrib.auth.signals import (
            user_logged_in,
            user_logged_out,
            user_login_failed,
        )

        from ftportal.accounts import signals

        user_logged_in.connect(signals.on_logged_in, dispatch_uid="accounts.logged_in")
        user_logged_out.connect(signals.on_logged_out, dispatch_uid="accounts.logged_out")
        user_login_failed.connect(signals.on_login_failed, dispatch_uid="accounts.login_failed")
