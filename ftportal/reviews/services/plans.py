"""Plans that the policy in force allows."""

from dataclasses import dataclass
from typing import Any

from ftportal.datasets.models import PromptSet
from ftportal.reviews.models import MOST_VOTES_AN_ITEM
from ftportal.reviews.plan import bound_of, defects_words, items_needed
from ftportal.reviews.plan import defects_allowed as most_defects
from ftportal.reviews.policy import Policy, policy_in_force
from ftportal.reviews.services.allowed import ReviewRefusedError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is fixed before the first vote."""

    prompt_set: PromptSet
    pool_size: int
    """Prompts of the set, from which `item_count` are drawn."""
    item_count: int
    votes_an_item: int
    defects_allowed: int
    voters_may_decide: bool

    @property
    def bound(self) -> float | None:
        """The most that may be defective where it is kept; None where it claims nothing."""
        if not self.prompt_set.is_pool:
            return None
        return bound_of(self.defects_allowed, self.item_count)

    @property
    def words(self) -> dict[str, Any]:
        """For the audit log."""
        return {
            "prompts": self.item_count,
            "votes": self.votes_an_item,
            "defects": self.defects_allowed,
        }


def plan_fix(
    prompt_set: PromptSet,
    *,
    votes_an_item: int | None = None,
    item_count: int | None = None,
    defects_allowed: int | None = None,
) -> Plan:
    """The plan that was asked for, what is None by the policy. Raises ReviewRefusedError.

    Of a pool too small for what the policy asks, all prompts are judged and no defect is allowed:
    the page says what that shows.
    """
    policy, size = policy_in_force(), prompt_set.prompts.count()
    if not size:
        raise ReviewRefusedError("The prompt set has no prompts.", "Choose one that has.")
    votes = policy.reviewers_an_item if votes_an_item is None else votes_an_item
    _votes_check(votes, policy)
    if prompt_set.is_pool:
        items = min(size, items_needed(policy.defect_rate) if item_count is None else item_count)
    else:
        items = size
    if items < 1 or (item_count or 0) > size:
        raise ReviewRefusedError(
            f"{item_count} prompts cannot be drawn from {prompt_set}.", f"Choose from 1 to {size}."
        )
    rate = policy.defect_rate
    allowed = defects_allowed
    if allowed is None:
        allowed = most_defects(item_count=items, is_pool=prompt_set.is_pool, defect_rate=rate)
    plan = Plan(
        prompt_set=prompt_set,
        pool_size=size,
        item_count=items,
        votes_an_item=votes,
        defects_allowed=allowed,
        voters_may_decide=policy.voters_may_decide,
    )
    _claim_check(plan, policy)
    return plan


def _votes_check(votes: int, policy: Policy) -> None:
    if not 1 <= votes <= MOST_VOTES_AN_ITEM:
        raise ReviewRefusedError(
            f"{votes} votes for each prompt are not possible.",
            f"Choose from 1 to {MOST_VOTES_AN_ITEM}.",
        )
    if votes < policy.reviewers_an_item:
        raise ReviewRefusedError(
            f"The {policy.name} review policy asks for {policy.reviewers_an_item} reviewers for "
            f"each prompt, and this plan has {votes}.",
            "Ask for more, or have an administrator change the policy.",
        )


def _claim_check(plan: Plan, policy: Policy) -> None:
    if not 0 <= plan.defects_allowed < plan.item_count:
        raise ReviewRefusedError(
            f"{defects_words(plan.defects_allowed)} in {plan.item_count} prompts are not a limit.",
            f"Choose from 0 to {plan.item_count - 1}.",
        )
    if plan.bound is None or plan.bound <= policy.defect_rate:
        return
    is_all_there_is = plan.item_count == plan.pool_size and plan.defects_allowed == 0
    if is_all_there_is and items_needed(policy.defect_rate) > plan.pool_size:
        return
    needed = items_needed(policy.defect_rate, plan.defects_allowed)
    cure = f"Draw {needed} prompts, or allow fewer defects."
    if needed > plan.pool_size:
        cure = "Allow fewer defects, or upload a larger pool."
    raise ReviewRefusedError(
        f"{plan.item_count} prompts with {defects_words(plan.defects_allowed)} allowed show at "
        f"most {100 * plan.bound:.2f} % defective, and the {policy.name} review policy asks for "
        f"{policy.defect_rate_percent:g} %.",
        cure,
    )
