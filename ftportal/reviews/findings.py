"""What the votes of a spot-check say, with names. Never shown before the last vote is in.

An answer is defective where at least half of its reviewers marked it so: one of one, one of two,
two of three, which is the third reviewer's word where two disagreed. `evaluation.judging.agreement`
is imported where it is used: SciPy takes a second to load, and only pages with findings pay it.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from ftportal.accounts.models import User
from ftportal.reviews.defects import DefectGroup, defect_groups
from ftportal.reviews.judged import ItemFinding
from ftportal.reviews.models import (
    DefectRule,
    Generation,
    SpotCheck,
)
from ftportal.reviews.plan import proof_words


@dataclass(frozen=True, kw_only=True)
class PreferenceCount:
    """How many prompts of one group went to whom."""

    group: str
    candidate: int
    baseline: int
    tie: int
    both_bad: int

    @property
    def decided(self) -> int:
        """Prompts on which one of the two was preferred."""
        return self.candidate + self.baseline

    @property
    def share(self) -> float | None:
        """The candidate's share of those; None without any."""
        return self.candidate / self.decided if self.decided else None


@dataclass(frozen=True, kw_only=True)
class SideBias:
    """Decisive votes by side; a small p says that the side drew the votes."""

    reviewer: User | None
    """None: of all reviewers together."""
    left_wins: int
    right_wins: int
    p: float

    @property
    def left_share(self) -> float | None:
        """The share of the left side; None where nobody was decisive."""
        decided = self.left_wins + self.right_wins
        return self.left_wins / decided if decided else None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well reviewers agree on one question; None where no prompt has two votes."""

    question: str
    raw: float | None
    alpha: float | None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that a decision can rest on."""

    items: Sequence[ItemFinding]
    counted_defects: int
    defects_allowed: int
    candidate_defect_items: int
    baseline_defect_items: int
    candidate_bound: float | None
    """Upper 95 % bound of the candidate's defect rate; None for a curated set."""
    preferences: Sequence[PreferenceCount]
    total: PreferenceCount
    sign_test_p: float
    agreements: Sequence[Agreement]
    side_biases: Sequence[SideBias]
    """Of all reviewers first, where there are several; then of each."""
    defect_groups: Mapping[str, Sequence[DefectGroup]]
    """Heading -> defects put together, with their texts."""
    third_count: int
    """Prompts that a third reviewer judged, because two disagreed."""
    proof: str
    """What the result proves, in words; empty for a curated set."""

    @property
    def within_plan(self) -> bool:
        """Whether the plan allows approval."""
        return self.counted_defects <= self.defects_allowed


def item_findings(spot_check: SpotCheck) -> list[ItemFinding]:
    """Every prompt of the spot-check with its answers and votes, in order."""
    sides = (spot_check.candidate_answers_id, spot_check.baseline_answers_id)
    answers = {
        (answer.generation_set_id, answer.prompt_id): answer
        for answer in Generation.objects.filter(generation_set__in=sides).select_related(
            "generation_set"
        )
    }
    items = spot_check.items.select_related("prompt").prefetch_related("votes__reviewer")
    return [
        ItemFinding(
            item=item,
            candidate=answers[sides[0], item.prompt_id],
            baseline=answers[sides[1], item.prompt_id],
            votes=list(item.votes.all()),
        )
        for item in items
    ]


def _counted(spot_check: SpotCheck, items: Sequence[ItemFinding]) -> int:
    only_new = spot_check.defect_rule == DefectRule.NEW
    return sum(
        one.candidate_is_defective and not (only_new and one.baseline_is_defective) for one in items
    )


def counted_defects(spot_check: SpotCheck) -> int:
    """The defects that count against the plan."""
    return _counted(spot_check, item_findings(spot_check))


def findings(spot_check: SpotCheck) -> Findings:
    """The findings of a spot-check whose votes are in."""
    from evaluation.judging.agreement import defect_rate_bound, sign_test

    items = item_findings(spot_check)
    defective = sum(one.candidate_is_defective for one in items)
    groups = list(dict.fromkeys(one.item.prompt.get_group_display() for one in items))
    total = _preferences("All prompts", items)
    return Findings(
        items=items,
        counted_defects=_counted(spot_check, items),
        defects_allowed=spot_check.defects_allowed,
        candidate_defect_items=defective,
        baseline_defect_items=sum(one.baseline_is_defective for one in items),
        candidate_bound=(
            defect_rate_bound(defective, len(items)) if spot_check.prompt_set.is_pool else None
        ),
        preferences=[
            _preferences(
                group, [one for one in items if one.item.prompt.get_group_display() == group]
            )
            for group in groups
        ],
        total=total,
        sign_test_p=sign_test(total.candidate, total.baseline),
        agreements=_agreements(items),
        side_biases=_side_biases(items),
        defect_groups=defect_groups(items),
        third_count=sum(one.item.votes_needed > spot_check.votes_an_item for one in items),
        proof=proof_words(defective, len(items)) if spot_check.prompt_set.is_pool else "",
    )


def _preferences(group: str, items: Sequence[ItemFinding]) -> PreferenceCount:
    winners = [one.winner for one in items]
    return PreferenceCount(
        group=group,
        candidate=winners.count("candidate"),
        baseline=winners.count("baseline"),
        tie=winners.count("tie"),
        both_bad=winners.count("both_bad"),
    )


def _agreements(items: Sequence[ItemFinding]) -> list[Agreement]:
    from evaluation.judging.agreement import krippendorff_alpha, raw_agreement

    questions: dict[str, list[list[Hashable]]] = {
        "Which answer is better": [[vote.preferred for vote in one.votes] for one in items],
        "Is the candidate's answer defective": [
            [bool(vote.candidate_defect) for vote in one.votes] for one in items
        ],
    }
    return [
        Agreement(question=question, raw=raw_agreement(values), alpha=krippendorff_alpha(values))
        for question, values in questions.items()
    ]


def _side_biases(items: Sequence[ItemFinding]) -> list[SideBias]:
    from evaluation.judging.agreement import side_bias_p

    wins: dict[User | None, dict[str, int]] = {}
    for one in items:
        for vote in one.votes:
            of_reviewer = wins.setdefault(vote.reviewer, {"left": 0, "right": 0})
            if vote.preference in of_reviewer:
                of_reviewer[vote.preference] += 1
    if len(wins) > 1:
        together = {side: sum(one[side] for one in wins.values()) for side in ("left", "right")}
        wins = {None: together, **wins}
    return [
        SideBias(
            reviewer=reviewer,
            left_wins=count["left"],
            right_wins=count["right"],
            p=side_bias_p(count["left"], count["right"]),
        )
        for reviewer, count in wins.items()
    ]
