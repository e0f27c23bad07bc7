"""manage.py second_factor_reset: for an administrator who has lost telephone and recovery codes."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ftportal.accounts.models import User
from ftportal.accounts.second_factor.services import second_factor_reset
from ftportal.accounts.services import PersonError


class Command(BaseCommand):
    """Take away a person's second factor, as the page People does."""

    help = "Take away the second factor of a person; every session of the person ends."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whose."""
        parser.add_argument("username", help="the name that the person logs in with")

    def handle(self, *args: Any, **options: Any) -> None:
        """Reset it, or say why not."""
        person = User.objects.filter(username=options["username"]).first()
        if person is None:
            raise CommandError(f"Nobody logs in as {options['username']}.")
        try:
            second_factor_reset(person=person)
        except PersonError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{person} logs in without a second factor now.")
