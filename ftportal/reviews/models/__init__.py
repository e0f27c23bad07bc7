"""Spot-checks with items and votes, who judges what, the policy, and prompts tried by hand."""

from ftportal.reviews.models.assignments import Assignment, ItemLease
from ftportal.reviews.models.checks import (
    UNDECIDED,
    DefectCategory,
    DefectRule,
    Generation,
    GenerationSet,
    Preference,
    ReviewItem,
    SpotCheck,
    SpotCheckState,
    Vote,
)
from ftportal.reviews.models.policies import MOST_VOTES_AN_ITEM, ReviewPolicy
from ftportal.reviews.models.trials import Trial, TrialAnswer

__all__ = [
    "MOST_VOTES_AN_ITEM",
    "UNDECIDED",
    "Assignment",
    "DefectCategory",
    "DefectRule",
    "Generation",
    "GenerationSet",
    "ItemLease",
    "Preference",
    "ReviewItem",
    "ReviewPolicy",
    "SpotCheck",
    "SpotCheckState",
    "Trial",
    "TrialAnswer",
    "Vote",
]
