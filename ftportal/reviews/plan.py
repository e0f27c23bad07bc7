"""The acceptance plan of a spot-check: how many defects approval allows, and what that shows."""

from ftportal.reviews.models import DefectRule, SpotCheck

CLAIMED_DEFECT_RATE = 0.10
"""What a plan on randomly drawn prompts is made to show, with 95 % confidence."""
CURATED_PROMPTS_A_DEFECT = 10
"""A curated set allows one new defect for so many prompts."""


def defects_allowed(*, item_count: int, is_random_sample: bool) -> int:
    """How many defects the plan for `item_count` prompts allows.

    Random prompts: the most that still show a defect rate of at most `CLAIMED_DEFECT_RATE` (none
    under 29 prompts, where not even a clean sheet shows it). Curated prompts show nothing about a
    population, so they are held to a count of new defects.
    """
    if not is_random_sample:
        return item_count // CURATED_PROMPTS_A_DEFECT
    # SciPy takes a second to load; only opening a spot-check pays it.
    from evaluation.judging.agreement import acceptance_items

    allowed = 0
    while acceptance_items(CLAIMED_DEFECT_RATE, allowed + 1) <= item_count:
        allowed += 1
    return allowed


def plan_sentences(spot_check: SpotCheck, item_count: int) -> list[str]:
    """The plan in plain words, one sentence a rule."""
    votes = spot_check.votes_an_item
    people = "one reviewer who sees" if votes == 1 else f"{votes} reviewers who see"
    allowed = spot_check.defects_allowed
    if spot_check.defect_rule == DefectRule.NEW:
        counted = (
            "A defect counts where the candidate's answer is defective and the other answer to the "
            "same prompt is not."
        )
    else:
        counted = "A defect counts wherever the candidate's answer is defective."
    limit = {0: "no such defect", 1: "at most one such defect"}.get(
        allowed, f"at most {allowed} such defects"
    )
    return [
        f"{_prompts(item_count)}, each judged by {people} no names.",
        counted,
        f"Approval needs {limit}.",
        _claim(spot_check, item_count),
    ]


def _prompts(count: int) -> str:
    return "One prompt" if count == 1 else f"{count} prompts"


def _claim(spot_check: SpotCheck, item_count: int) -> str:
    if not spot_check.prompt_set.is_random_sample:
        return (
            "The prompts were chosen by hand: the result holds for them, with no population claim."
        )
    from evaluation.judging.agreement import defect_rate_bound

    bound = defect_rate_bound(min(spot_check.defects_allowed, item_count), item_count)
    return (
        f"The prompts were drawn at random: within that limit the defect rate lies under "
        f"{100 * bound:.1f} % with 95 % confidence."
    )
