"""Forms of the review pages."""

from typing import Any, cast

from django import forms

from ftportal.datasets.models import PromptSet
from ftportal.reviews.models import DefectCategory, Preference, Vote
from ftportal.reviews.services import MOST_VOTES_AN_ITEM, Judgement

REASON_CHARACTERS = Vote._meta.get_field("left_reason").max_length
NOTE_CHARACTERS = Vote._meta.get_field("note").max_length
CORRECTION_CHARACTERS = Vote._meta.get_field("corrected_answer").max_length
_CATEGORIES = [("", "Choose a kind"), *DefectCategory.choices]


class VoteForm(forms.Form):
    """One judgement of the item that its address names."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    change = forms.BooleanField(required=False, help_text="a vote that is there is to be replaced")
    preference = forms.ChoiceField(
        choices=Preference.choices,
        error_messages={"required": "Choose left, right, tie or both bad."},
    )
    left_defective = forms.BooleanField(required=False)
    left_category = forms.ChoiceField(choices=_CATEGORIES, required=False)
    left_reason = forms.CharField(required=False, max_length=REASON_CHARACTERS)
    right_defective = forms.BooleanField(required=False)
    right_category = forms.ChoiceField(choices=_CATEGORIES, required=False)
    right_reason = forms.CharField(required=False, max_length=REASON_CHARACTERS)
    note = forms.CharField(required=False, max_length=NOTE_CHARACTERS)
    corrected_answer = forms.CharField(
        required=False, max_length=CORRECTION_CHARACTERS, strip=False
    )

    def clean(self) -> dict[str, Any]:
        """A defect needs its kind and its reason."""
        cleaned = super().clean() or {}
        for side in ("left", "right"):
            if not cleaned.get(f"{side}_defective"):
                continue
            if not cleaned.get(f"{side}_category") and f"{side}_category" not in self.errors:
                self.add_error(f"{side}_category", "Choose what kind of defect it is.")
            if not cleaned.get(f"{side}_reason") and f"{side}_reason" not in self.errors:
                self.add_error(f"{side}_reason", "Say in a few words what is wrong with it.")
        return cleaned

    @property
    def judgement(self) -> Judgement:
        """What was judged."""
        fields = {name: self.cleaned_data[name] for name in Judgement.__annotations__}
        return cast(Judgement, fields)

    @classmethod
    def of(cls, vote: Vote) -> "VoteForm":
        """A form that holds what a vote says."""
        return cls(initial={name: getattr(vote, name) for name in Judgement.__annotations__})


class DecisionForm(forms.Form):
    """Approve or reject, with a reason."""

    decision = forms.ChoiceField(choices=[("approve", "Approve"), ("reject", "Reject")])
    reason = forms.CharField(required=False)


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
