"""Forms of the review pages."""

from typing import Any

from django import forms

from ftportal.datasets.models import PromptSet
from ftportal.reviews.models import Preference, Vote
from ftportal.reviews.services import MOST_VOTES_AN_ITEM

REASON_CHARACTERS = Vote._meta.get_field("left_reason").max_length


class VoteForm(forms.Form):
    """One judgement. `position` says which item the page showed."""

    position = forms.IntegerField(min_value=0, max_value=10**6, widget=forms.HiddenInput)
    preference = forms.ChoiceField(
        choices=Preference.choices,
        error_messages={"required": "Choose left, right, tie or both bad."},
    )
    left_defective = forms.BooleanField(required=False)
    left_reason = forms.CharField(required=False, max_length=REASON_CHARACTERS)
    right_defective = forms.BooleanField(required=False)
    right_reason = forms.CharField(required=False, max_length=REASON_CHARACTERS)

    def clean(self) -> dict[str, Any]:
        """A defect needs its reason."""
        cleaned = super().clean() or {}
        for side in ("left", "right"):
            if cleaned.get(f"{side}_defective") and not cleaned.get(f"{side}_reason"):
                self.add_error(f"{side}_reason", "Say in a few words what is wrong with it.")
        return cleaned


class DecisionForm(forms.Form):
    """Approve or reject, with a reason."""

    decision = forms.ChoiceField(choices=[("approve", "Approve"), ("reject", "Reject")])
    reason = forms.CharField(required=False, max_length=5000)


class PlanForm(forms.Form):
    """How many reviewers judge each prompt."""

    votes_an_item = forms.IntegerField(min_value=1, max_value=MOST_VOTES_AN_ITEM)


class OpenForm(PlanForm):
    """Open a spot-check by hand: on which prompts, with how many votes."""

    prompt_set = forms.ModelChoiceField(
        PromptSet.objects.all(),
        to_field_name="name",
        error_messages={"invalid_choice": "There is no such prompt set."},
    )
