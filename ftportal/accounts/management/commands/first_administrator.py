"""manage.py first_administrator: the address at which the first administrator joins."""

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand
from django.urls import reverse

from ftportal.accounts.services import first_administrator_link


class Command(BaseCommand):
    """Make a one-time link while there is no administrator."""

    help = "Print the path of a one-time link by which the first administrator joins."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where the path is written instead, for the process that starts the portal."""
        parser.add_argument("--file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the path, or write it where only the owner can read it."""
        token = first_administrator_link()
        path = reverse("accounts:welcome", args=[token]) if token else ""
        if options["file"] is None:
            self.stdout.write(path or "There is an administrator already.")
            return
        options["file"].unlink(missing_ok=True)
        if path:
            descriptor = os.open(options["file"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(path)
