"""Forms of the promotions page."""

from django import forms


class PromoteForm(forms.Form):
    """Why, and whether inconclusive verdicts are accepted. The service asks for the reason."""

    reason = forms.CharField(required=False)
    accept_inconclusive = forms.BooleanField(required=False)


class RollbackForm(forms.Form):
    """Which model goes back to which checkpoint, both by name, and why."""

    model = forms.CharField()
    to = forms.CharField(
        error_messages={"required": "Choose the checkpoint to go back to."},
    )
    reason = forms.CharField(required=False)
