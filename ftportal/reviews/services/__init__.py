"""Changes to spot-checks and to their votes."""

from ftportal.reviews.services.allowed import ReviewRefusedError, reviewer_check
from ftportal.reviews.services.checks import (
    MOST_VOTES_AN_ITEM,
    spot_check_decide,
    spot_check_open,
    spot_check_plan_change,
    spot_checks_start,
)
from ftportal.reviews.services.chosen import chosen_batch_make
from ftportal.reviews.services.judgements import Judgement
from ftportal.reviews.services.voting import (
    JudgedBeforeError,
    vote_cast,
    vote_change,
    vote_undo,
)

__all__ = [
    "MOST_VOTES_AN_ITEM",
    "JudgedBeforeError",
    "Judgement",
    "ReviewRefusedError",
    "chosen_batch_make",
    "reviewer_check",
    "spot_check_decide",
    "spot_check_open",
    "spot_check_plan_change",
    "spot_checks_start",
    "vote_cast",
    "vote_change",
    "vote_undo",
]
