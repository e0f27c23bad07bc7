"""Recipes side by side, in words: one row a field, one value a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from ftportal.runs.models import Run
from ftportal.runs.recipes import recipe_words, shares

NOT_SET = "–"


@dataclass(frozen=True, kw_only=True)
class RecipeRow:
    """One field of the recipes: a value in words for each run."""

    label: str
    values: Sequence[str]

    @property
    def differs(self) -> bool:
        """Whether the runs do not all have the same value."""
        return len(set(self.values)) > 1


def recipe_rows(runs: Sequence[Run]) -> list[RecipeRow]:
    """Parent, mixture and every field of the recipes. Reads `run.mixture` with its batches."""
    words = [
        {
            "Parent": str(run.parent),
            "Batches": _mixture(run),
            **dict(recipe_words(run.recipe, run.probe_set)),
        }
        for run in runs
    ]
    labels = dict.fromkeys(label for one in words for label in one)
    return [
        RecipeRow(label=label, values=[one.get(label, NOT_SET) for one in words])
        for label in labels
    ]


def _mixture(run: Run) -> str:
    parts = [(part.batch, part.weight) for part in run.mixture.all()]
    if not parts:
        return NOT_SET
    portions = zip(parts, shares(parts), strict=True)
    return ", ".join(f"{batch} {100 * share:.0f} %" for (batch, _), share in portions)
