"""Forms of the promotions page."""

from django import forms

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
