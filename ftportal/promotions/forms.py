"""Forms of the promotions page and of the ledger's."""

from typing import Any

from django import forms
from django.utils import timezone

REASON_CHARACTERS = 5000


class PromoteForm(forms.Form):
    """Why, and whether inconclusive verdicts are accepted. The service asks for the reason."""

    reason = forms.CharField(required=False, max_length=REASON_CHARACTERS)
    accept_inconclusive = forms.BooleanField(required=False)


class RollbackForm(forms.Form):
    """Which model goes back to which checkpoint, both by name, and why."""

    model = forms.CharField(max_length=120)
    to = forms.CharField(
        max_length=160,
        error_messages={"required": "Choose the checkpoint to go back to."},
    )
    reason = forms.CharField(required=False, max_length=REASON_CHARACTERS)


class AsOfForm(forms.Form):
    """A moment that has passed."""

    at = forms.DateTimeField(
        required=False,
        error_messages={"invalid": "This is not a date with a time. Write it as 2026-05-03 14:00."},
    )

    def clean_at(self) -> Any:
        """Nobody knows who will be champion."""
        at = self.cleaned_data["at"]
        if at is not None and at > timezone.now():
            raise forms.ValidationError("This lies in the future. Choose a time that has passed.")
        return at
