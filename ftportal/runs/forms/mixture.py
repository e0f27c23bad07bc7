"""The mixture's rows: every batch that a run could use, with its weight."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from django.http import QueryDict

from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import champion
from ftportal.datasets.models import Batch
from ftportal.datasets.selectors import batches_ready
from ftportal.mixtures.models import Mixture
from ftportal.mixtures.selectors import weights_of

BATCHES_SHOWN = 40
WEIGHT_MAX = 1e6


@dataclass(frozen=True, kw_only=True)
class MixtureRow:
    """One batch that a run could use, with what was typed as its weight."""

    batch: Batch
    text: str
    weight: float = 0.0
    error: str = ""

    @property
    def field(self) -> str:
        """The name of its weight in the form."""
        return f"weight_{self.batch.pk}"


def mixture_rows(parent: Checkpoint | None, data: Mapping[str, str]) -> list[MixtureRow]:
    """The newest ready batches of the parent's model and all that `data` gives a weight.

    `data` has weight_<batch> fields; a plain `batch` field means weight 1.
    """
    if parent is None:
        return []
    batches = list(batches_ready(parent.language_model))
    wanted = data.getlist("batch") if hasattr(data, "getlist") else []
    rows = []
    for number, batch in enumerate(batches):
        text = data.get(f"weight_{batch.pk}", "1" if str(batch.pk) in wanted else "").strip()
        if number < BATCHES_SHOWN or text:
            weight, error = _weight(text)
            rows.append(MixtureRow(batch=batch, text=text, weight=weight, error=error))
    return rows


def mixture_data(named: Mixture | None, data: QueryDict) -> QueryDict:
    """The form's fields with the weights and the seed of a named mixture, where one is given."""
    if named is None:
        return data
    filled = data.copy()
    for key, weight in weights_of(named).items():
        filled[f"weight_{key}"] = f"{weight:.6g}"
    filled["seed"] = str(named.order_seed)
    if not filled.get("parent"):
        filled["parent"] = str(champion(named.language_model).pk)
    return filled


def _weight(text: str) -> tuple[float, str]:
    if not text:
        return 0.0, ""
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= WEIGHT_MAX:  # NaN is not
        return 0.0, "Write a number such as 1 or 0.25; 0 leaves the batch out."
    return weight, ""
