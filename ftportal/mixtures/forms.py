"""The form that makes a mixture: shares, order, and a row for every batch that is ready."""

from collections.abc import Mapping
from dataclasses import dataclass

from django import forms

from ftportal.checkpoints.models import LanguageModel
from ftportal.datasets.models import Batch, BatchKind
from ftportal.datasets.selectors import batches_ready
from ftportal.mixtures.models import Mixture, PartRole
from ftportal.mixtures.selectors import parts_of
from ftportal.mixtures.services import SHARE_MAX, Part

_PERCENT = {"inputmode": "decimal", "class": "weight"}


class MixtureForm(forms.Form):
    """What concerns a mixture as a whole; shares are in per cent."""

    name = forms.CharField(label="Name", max_length=120, required=False)
    general_percent = forms.FloatField(
        label="General share, %",
        min_value=0,
        max_value=100 * SHARE_MAX,
        help_text="Of the examples, from general batches. 25 keeps most of what a model knows.",
    )
    replay_percent = forms.FloatField(
        label="Replay share, %",
        min_value=0,
        max_value=100 * SHARE_MAX,
        help_text="Of the examples, from batches that were learnt before.",
    )
    order_seed = forms.IntegerField(
        label="Order seed",
        min_value=0,
        max_value=2**31 - 1,
        help_text="The same seed gives the same order of examples.",
    )
    note = forms.CharField(label="What it is for", max_length=300, required=False)


@dataclass(frozen=True, kw_only=True)
class PartField:
    """One batch that a mixture could hold, with what was typed for it."""

    batch: Batch
    weight_text: str
    role: str
    error: str = ""

    @property
    def part(self) -> Part | None:
        """The batch with its role and weight; None where it is left out."""
        weight = float(self.weight_text) if self.weight_text and not self.error else 0.0
        return (self.batch, self.role, weight) if weight else None


def part_fields(
    language_model: LanguageModel, data: Mapping[str, str] | None, version_of: Mixture | None
) -> list[PartField]:
    """A row for each ready batch of a model; without data, as the version before had it."""
    known = {part.batch_id: part for part in parts_of(version_of)} if version_of else {}
    rows = []
    for batch in batches_ready(language_model):
        part = known.get(batch.pk)
        weight = f"{part.weight:g}" if part else ""
        role: str = part.role if part else _role_of(batch)
        if data is not None:
            weight = data.get(f"weight_{batch.pk}", "").strip()
            role = data.get(f"role_{batch.pk}", role)
        rows.append(PartField(batch=batch, weight_text=weight, role=role, error=_error(weight)))
    return rows


def _role_of(batch: Batch) -> str:
    return PartRole.GENERAL if batch.kind == BatchKind.GENERAL else PartRole.NEW


def _error(text: str) -> str:
    if not text:
        return ""
    try:
        fits = 0 <= float(text) <= 1e6
    except ValueError:
        fits = False
    return "" if fits else "Write a number such as 1 or 0.25; empty leaves the batch out."
