"""The acceptance plan of a spot-check: how many prompts, how many defects, and what that proves.

`evaluation.judging.agreement` is imported where it is used: SciPy takes a second to load, and only
pages with plans and findings pay it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ftportal.pages.charts import Chart, Series, line_chart
from ftportal.reviews.models import DefectRule, SpotCheck

CLAIMED_DEFECT_RATE = 0.10
"""What a plan on drawn prompts shows where no policy says otherwise, with 95 % confidence."""
CURATED_PROMPTS_A_DEFECT = 10
"""A curated set allows one new defect for so many prompts."""
DEFECTS_SHOWN = (0, 1, 2, 3)
RATES_SHOWN = (0.10, 0.05, 0.02, 0.01)
"""Defect rates whose plans the chooser offers."""


def defects_allowed(
    *, item_count: int, is_pool: bool, defect_rate: float = CLAIMED_DEFECT_RATE
) -> int:
    """How many defects the plan for `item_count` prompts allows.

    Drawn prompts: the most that still show a rate of at most `defect_rate`; none where not even a
    clean sheet shows it. Curated prompts show nothing about a population, so they are held to a
    count of new defects.
    """
    if not is_pool:
        return item_count // CURATED_PROMPTS_A_DEFECT
    from evaluation.judging.agreement import acceptance_items

    allowed = 0
    while acceptance_items(defect_rate, allowed + 1) <= item_count:
        allowed += 1
    return allowed


def items_needed(defect_rate: float, allowed: int = 0) -> int:
    """The fewest drawn prompts that show the rate with so many defects allowed."""
    from evaluation.judging.agreement import acceptance_items

    return acceptance_items(defect_rate, allowed)


def bound_of(defects: int, item_count: int) -> float:
    """The most that may be defective after so many defects, with 95 % confidence."""
    from evaluation.judging.agreement import defect_rate_bound

    return defect_rate_bound(min(defects, item_count), item_count)


def proof_words(defects: int, item_count: int) -> str:
    """What a plan, or its result, proves: 0 defects in 59 prompts: at most 4.95 % ..."""
    most = f"at most {100 * bound_of(defects, item_count):.2f} % defective (95 %)"
    return f"{defects_words(defects)} in {_prompts(item_count)}: {most}"


def defects_words(count: int) -> str:
    """So many defects, in words."""
    return "1 defect" if count == 1 else f"{count} defects"


def plan_sentences(spot_check: SpotCheck, item_count: int) -> list[str]:
    """The plan in plain words, one sentence a rule."""
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
    sentences = [
        f"{_prompts(item_count).capitalize()}, each judged by {_people(spot_check.votes_an_item)}.",
        counted,
        f"Approval needs {limit}.",
        _claim(spot_check, item_count),
    ]
    if not spot_check.voters_may_decide:
        sentences.append("Who has judged it does not decide on it.")
    return sentences


def _people(votes: int) -> str:
    """Who judges each prompt. Two who disagree on it call for a third, who is told of neither."""
    if votes == 1:
        return "one reviewer who sees no names"
    third = "; where the two disagree, by a third" if votes == 2 else ""
    return f"{votes} reviewers who see no names{third}"


def _prompts(count: int) -> str:
    return "one prompt" if count == 1 else f"{count} prompts"


def _claim(spot_check: SpotCheck, item_count: int) -> str:
    if not spot_check.prompt_set.is_pool:
        return (
            "The prompts were chosen by hand: the result holds for them, with no population claim."
        )
    return (
        f"The prompts were drawn at random from {spot_check.prompt_set}. "
        f"{proof_words(spot_check.defects_allowed, item_count)}, for prompts like those of the "
        "pool."
    )


CURVE_STEPS = 40
"""Points of a plan's characteristic."""


@dataclass(frozen=True, kw_only=True)
class Trade:
    """One row of the chooser: so many prompts, and what they prove by defects allowed."""

    item_count: int
    is_chosen: bool
    bounds: Sequence[float]
    """In the order of DEFECTS_SHOWN."""


def trades(pool_size: int, chosen: int) -> list[Trade]:
    """What numbers of prompts prove, of those that the pool has: the usual ones, and the chosen."""
    usual = {items_needed(rate, allowed) for rate in RATES_SHOWN for allowed in DEFECTS_SHOWN}
    counts = sorted({count for count in usual | {pool_size, chosen} if 1 <= count <= pool_size})
    return [
        Trade(
            item_count=count,
            is_chosen=count == chosen,
            bounds=[bound_of(defects, count) for defects in DEFECTS_SHOWN],
        )
        for count in counts
    ]


def passing_chart(item_count: int, allowed: int) -> Chart:
    """How often a candidate passes, by the true rate of its defects: the plan's characteristic."""
    from evaluation.judging.agreement import acceptance_chance

    shown = sorted({*DEFECTS_SHOWN, allowed} & set(range(item_count + 1)))
    widest = min(1.0, 2 * bound_of(max(shown), item_count))
    percents = [100 * widest * step / CURVE_STEPS for step in range(CURVE_STEPS + 1)]
    return line_chart(
        title="How often a candidate passes",
        x_label="Truly defective answers, %",
        y_label="Chance to pass, %",
        y_from_zero=True,
        x_range=(0, 100 * widest),
        series=[
            Series(
                name=f"{defects} allowed" + (" (this plan)" if defects == allowed else ""),
                x=percents,
                y=[100 * acceptance_chance(one / 100, item_count, defects) for one in percents],
                has_points=False,
            )
            for defects in shown
        ],
        caption=f"{_prompts(item_count).capitalize()}. A plan that allows more lets more of the "
        "good candidates pass, and more of the bad ones.",
    )
