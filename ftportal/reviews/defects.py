"""What reviewers found wrong, with their words, put together by what it has in common."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ftportal.accounts.models import User
from ftportal.reviews.judged import ItemFinding
from ftportal.reviews.models import ReviewItem


@dataclass(frozen=True, kw_only=True)
class NotedDefect:
    """One reviewer's reason to call one answer defective, with the prompt it answered."""

    item: ReviewItem
    is_candidates: bool
    reviewer: User
    reason: str
    category: str
    """What kind of defect it is, in words; empty where nobody said."""

    @property
    def group(self) -> str:
        """What the prompt looked at, in words."""
        return str(self.item.prompt.get_group_display())


@dataclass(frozen=True, kw_only=True)
class DefectGroup:
    """Defects that have something in common."""

    name: str
    defects: Sequence[NotedDefect]

    @property
    def candidate_count(self) -> int:
        """Those of the candidate's answers."""
        return sum(one.is_candidates for one in self.defects)

    @property
    def baseline_count(self) -> int:
        """Those of the baseline's answers."""
        return len(self.defects) - self.candidate_count


GROUPINGS: dict[str, Callable[[NotedDefect], str]] = {
    "Kind of defect": lambda one: one.category or "Not said",
    "Prompt group": lambda one: one.group,
}
"""What defects are put together by: heading -> how a defect is named there."""


def noted_defects(items: Iterable[ItemFinding]) -> list[NotedDefect]:
    """Every defect that was noted, in the order of the prompts, the candidate's first."""
    return [
        NotedDefect(
            item=one.item,
            is_candidates=is_candidates,
            reviewer=said.reviewer,
            reason=said.reason,
            category=said.category,
        )
        for one in items
        for is_candidates, defects in (
            (True, one.candidate_defects),
            (False, one.baseline_defects),
        )
        for said in defects
    ]


def defect_groups(items: Iterable[ItemFinding]) -> dict[str, list[DefectGroup]]:
    """The defects by each of GROUPINGS, the largest group first; empty without any defect."""
    noted = noted_defects(items)
    return {heading: _grouped(noted, name_of) for heading, name_of in GROUPINGS.items() if noted}


def _grouped(
    noted: Sequence[NotedDefect], name_of: Callable[[NotedDefect], str]
) -> list[DefectGroup]:
    names = dict.fromkeys(map(name_of, noted))
    groups = [
        DefectGroup(name=name, defects=[one for one in noted if name_of(one) == name])
        for name in names
    ]
    return sorted(groups, key=lambda group: -len(group.defects))
