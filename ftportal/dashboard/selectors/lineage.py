"""The tree of a language model's checkpoints."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ftportal.blends.models import Blend
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import champion, lineage
from ftportal.dashboard.selectors import sessions
from ftportal.dashboard.selectors.costs import Cost, costs
from ftportal.evaluations.models import Verdict
from ftportal.promotions.selectors import stages
from ftportal.runs.models import Run


@dataclass(frozen=True, kw_only=True)
class Node:
    """One checkpoint as a row of the tree."""

    checkpoint: Checkpoint
    branch: "Branch"
    run: Run | None
    blend: Blend | None
    stage: str
    verdict: Verdict | None
    """Against the pre-trained checkpoint."""
    cost: Cost | None
    """Against the pre-trained checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Branch:
    """How a row of the tree is drawn."""

    rails: Sequence[bool]
    """For each level of indentation, whether its line goes on below this row."""
    joins_above: bool
    """Whether it continues the line of the row's own level."""
    goes_on: bool
    """Whether anything stands below on its own line."""

    @property
    def level(self) -> int:
        """Branches off the champion's line: 0 is on it."""
        return len(self.rails)


def tree(language_model: LanguageModel, viewer: object = None) -> list[Node]:
    """All checkpoints of a model, parents before children; a fixed number of queries.

    The champion's line keeps to the left, however long it grows; what branches off it is indented
    and stands above the line's next checkpoint.
    """
    checkpoints = list(
        Checkpoint.objects.filter(language_model=language_model)
        .select_related("made_by__submitter", "blended_by__candidate")
        .order_by("created_at", "pk")
    )
    anchor = next((one for one in checkpoints if one.parent_id is None), None)
    if anchor is None:
        return []
    trunk = {one.pk for one in lineage(champion(language_model))}
    ids = [one.pk for one in checkpoints]
    stage_of = stages(ids, viewer)
    verdicts = sessions.verdicts_by_candidate(ids)
    cost_of = costs([(anchor, one) for one in checkpoints if one != anchor])
    return [
        Node(
            checkpoint=one,
            branch=branch,
            run=getattr(one, "made_by", None),
            blend=getattr(one, "blended_by", None),
            stage=stage_of[one.pk],
            verdict=next(
                (v for v in verdicts.get(one.pk, []) if v.before.checkpoint_id == anchor.pk), None
            ),
            cost=cost_of.get((anchor.pk, one.pk)),
        )
        for one, branch in _drawn(list(_walk(anchor, checkpoints, trunk)))
    ]


def _drawn(rows: Sequence[tuple[Checkpoint, int]]) -> list[tuple[Checkpoint, Branch]]:
    """Rows with their lines, found from the last row up: a line ends at the last row it meets."""
    level_of = {one.pk: level for one, level in rows}
    goes_on: dict[int, bool] = {}
    drawn = []
    for one, level in reversed(rows):
        joins = level_of.get(one.parent_id or 0) == level
        branch = Branch(
            rails=[goes_on.get(rail, False) for rail in range(level)],
            joins_above=joins,
            goes_on=goes_on.get(level, False),
        )
        drawn.append((one, branch))
        goes_on = {rail: on for rail, on in goes_on.items() if rail < level}
        goes_on[level] = joins
        if level and not joins:
            goes_on[level - 1] = True
    return drawn[::-1]


def _walk(
    anchor: Checkpoint, checkpoints: Sequence[Checkpoint], trunk: set[int]
) -> Iterator[tuple[Checkpoint, int]]:
    """Checkpoints with their level. A stack, not recursion: a line may have thousands."""
    children: dict[int, list[Checkpoint]] = defaultdict(list)
    for one in checkpoints:
        if one.parent_id is not None:
            children[one.parent_id].append(one)
    stack = [(anchor, 0)]
    while stack:
        one, level = stack.pop()
        yield one, level
        below = children[one.pk]
        straight = [child for child in below if child.pk in trunk]
        if not straight and one.pk not in trunk and len(below) == 1:
            straight = below
        stack += [(child, level) for child in straight]
        stack += [(child, level + 1) for child in reversed(below) if child not in straight]
