"""Changes to spot-checks, to their votes, and to what holds for them."""

from ftportal.reviews.services.allowed import (
    ReviewRefusedError,
    decider_check,
    opener_check,
    reviewer_check,
)
from ftportal.reviews.services.assigning import spot_check_assign
from ftportal.reviews.services.checks import (
    spot_check_decide,
    spot_check_open,
    spot_check_plan_change,
    spot_checks_start,
)
from ftportal.reviews.services.chosen import chosen_batch_make
from ftportal.reviews.services.closing import spot_check_close, spot_checks_close_stale
from ftportal.reviews.services.judgements import Judgement
from ftportal.reviews.services.leases import ballot_take, item_hold, item_release, items_release
from ftportal.reviews.services.plans import Plan, plan_fix
from ftportal.reviews.services.policies import review_policy_set
from ftportal.reviews.services.trials import TRIERS, trial_ask, trial_check
from ftportal.reviews.services.voting import (
    JudgedBeforeError,
    vote_cast,
    vote_change,
    vote_undo,
)

__all__ = [
    "TRIERS",
    "JudgedBeforeError",
    "Judgement",
    "Plan",
    "ReviewRefusedError",
    "ballot_take",
    "chosen_batch_make",
    "decider_check",
    "item_hold",
    "item_release",
    "items_release",
    "opener_check",
    "plan_fix",
    "review_policy_set",
    "reviewer_check",
    "spot_check_assign",
    "spot_check_close",
    "spot_check_decide",
    "spot_check_open",
    "spot_check_plan_change",
    "spot_checks_close_stale",
    "spot_checks_start",
    "trial_ask",
    "trial_check",
    "vote_cast",
    "vote_change",
    "vote_undo",
]
