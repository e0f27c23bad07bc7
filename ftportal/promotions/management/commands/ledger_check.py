"""manage.py ledger_check: whether every ledger's chain holds, and where one breaks."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ftportal.checkpoints.models import LanguageModel
from ftportal.promotions.ledger import ledger_check


class Command(BaseCommand):
    """Hash every entry again, check its seal, and compare with the exported heads."""

    help = "Check every model's ledger; ends with an error where one does not hold."

    def handle(self, *args: Any, **options: Any) -> None:
        """Say what each ledger is like."""
        broken = 0
        for model in LanguageModel.objects.order_by("name"):
            check = ledger_check(model)
            if check.intact:
                self.stdout.write(f"{model}: {check.entry_count} entries, all as written.")
            else:
                broken += 1
                self.stderr.write(f"{model}: entry {check.broken_number}: {check.problem}.")
        if broken:
            raise CommandError(f"{broken} ledger{'s do' if broken > 1 else ' does'} not hold.")
