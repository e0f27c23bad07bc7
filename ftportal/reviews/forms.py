"""Forms of the review pages."""

from typing import Any, cast

from django import forms

from ftportal.accounts.models import User
from ftportal.datasets.models import PromptSet
from ftportal.reviews.models import MOST_VOTES_AN_ITEM, DefectCategory, Preference, Vote
from ftportal.reviews.policy import Policy
from ftportal.reviews.services import Judgement
from ftportal.reviews.services.trials import PROMPT_CHARACTERS

REASON_CHARACTERS = Vote._meta.get_field("left_reason").max_length
NOTE_CHARACTERS = Vote._meta.get_field("note").max_length
MOST_PROMPTS = 100_000
CORRECTION_CHARACTERS = Vote._meta.get_field("corrected_answer").max_length
_CATEGORIES = [("", "Choose a kind"), *DefectCategory.choices]


class VoteForm(forms.Form):
    """One judgement of the item that its address names."""

    seen = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)
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
    reason = forms.CharField(required=False, max_length=5000)


class PlanForm(forms.Form):
    """How many reviewers judge each prompt, and how many defects are allowed."""

    votes_an_item = forms.IntegerField(
        min_value=1,
        max_value=MOST_VOTES_AN_ITEM,
        error_messages=dict.fromkeys(
            ("required", "invalid", "min_value", "max_value"),
            f"The number of reviewers is a whole number from 1 to {MOST_VOTES_AN_ITEM}.",
        ),
    )
    defects_allowed = forms.IntegerField(
        required=False,
        min_value=0,
        max_value=1000,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            "The number of defects allowed is a whole number from 0 on.",
        ),
    )


class OpenForm(PlanForm):
    """Open a spot-check by hand: on which prompts, how many of them, and by whom judged."""

    prompt_set = forms.ModelChoiceField(
        PromptSet.objects.all(),
        to_field_name="name",
        error_messages={
            "required": "Choose a prompt set.",
            "invalid_choice": "There is no such prompt set.",
        },
    )
    item_count = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_PROMPTS,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"),
            f"The number of prompts is a whole number from 1 to {MOST_PROMPTS:,}.",
        ),
    )


class AssignForm(forms.Form):
    """Who judges a check, by login names; nobody means whoever takes it from the queue."""

    reviewers = forms.ModelMultipleChoiceField(
        User.objects.filter(is_active=True, is_reviewer=True),
        to_field_name="username",
        required=False,
        error_messages={"invalid_choice": "%(value)s is not a reviewer."},
    )


class CloseForm(forms.Form):
    """Why a check ends without a decision. The service asks for the reason."""

    reason = forms.CharField(required=False, max_length=500)


class PolicyForm(forms.Form):
    """The review policy."""

    reviewers_an_item = forms.IntegerField(
        label="Reviewers a prompt, at least",
        min_value=1,
        max_value=MOST_VOTES_AN_ITEM,
        help_text="With two, a third one judges where they disagree.",
    )
    defect_rate_percent = forms.FloatField(
        label="Defective answers that a check must rule out, %",
        min_value=0.5,
        max_value=50,
        help_text="For checks that draw from a pool. 10 % takes 29 prompts without a defect, 5 % "
        "takes 59, 1 % takes 299.",
    )
    voters_may_decide = forms.BooleanField(
        label="Who has judged a check may also decide on it", required=False
    )
    trainers_may_promote = forms.BooleanField(
        label="A releaser may promote what they trained themselves", required=False
    )
    names_reviewers = forms.BooleanField(
        label="Exports of votes name the reviewers", required=False
    )

    @classmethod
    def of(cls, policy: Policy) -> "PolicyForm":
        """The form filled with what is in force."""
        return cls(initial={name: getattr(policy, name) for name in cls.base_fields})


class TryForm(forms.Form):
    """A prompt to try. The service asks for its text."""

    prompt = forms.CharField(
        required=False,
        strip=False,
        max_length=PROMPT_CHARACTERS,
        error_messages={
            "max_length": f"The prompt has more than {PROMPT_CHARACTERS:,} characters: shorten it."
        },
    )
