"""What a run changed in the model, tensor by tensor, as its output's displacement.json tells it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.numbers import finite_or_none
from engine.tensornames import TensorName
from ftportal.checkpoints.models import Checkpoint
from ftportal.pages.charts import Chart, text_of
from ftportal.pages.heat_charts import HeatCell, heat_chart

RECORD_NAME = "displacement.json"
RECORD_MAX_BYTES = 20_000_000
"""A larger one is not one of our records: an entry has about 200 bytes."""
PARTS_MAX = 16
"""More kinds of matrices in a layer, such as the experts of a mixture, make a table only."""
TABLE_ROWS_MAX = 1000


@dataclass(frozen=True, kw_only=True)
class TensorChange:
    """How one tensor differs from the parent's."""

    name: str
    place: TensorName
    shape: tuple[int, ...]
    norm: float
    relative: float | None
    entropy_rank: float | None
    rank_90: int | None
    rank_reason: str | None
    """Why the ranks are None; None itself where nobody asked for them."""

    @property
    def is_matrix(self) -> bool:
        """Whether it stands in a layer and has rows and columns."""
        return self.place.layer is not None and len(self.shape) >= 2

    @property
    def rank_is_known(self) -> bool:
        """Whether its ranks were measured."""
        return self.entropy_rank is not None

    @property
    def side(self) -> int:
        """The largest rank that it could have."""
        return min(self.shape[-2:])


@dataclass(frozen=True, kw_only=True)
class Changes:
    """All tensors of a run's output, and their charts where names and number allow them."""

    tensors: list[TensorChange]
    charts: list[Chart]
    rank_matrices: int
    rank_matrices_measured: int


def changes_of(checkpoint: Checkpoint | None) -> Changes | None:
    """What the run that made this checkpoint changed; None where there is no record of it."""
    if checkpoint is None or checkpoint.deleted_at is not None:
        return None
    tensors = _record_read(checkpoint)
    if not tensors:
        return None
    asked = [one for one in tensors if one.rank_is_known or one.rank_reason]
    return Changes(
        tensors=sorted(tensors, key=lambda one: -(one.relative or 0.0))[:TABLE_ROWS_MAX],
        charts=_charts(tensors),
        rank_matrices=len(asked),
        rank_matrices_measured=sum(one.rank_is_known for one in asked),
    )


def _record_read(checkpoint: Checkpoint) -> list[TensorChange]:
    path = checkpoint.directory / RECORD_NAME
    try:
        if path.stat().st_size > RECORD_MAX_BYTES:
            return []
        record = json.loads(path.read_bytes())
        tensors = (record["parent"] or {})["tensors"]
        return [_tensor(str(name), entry) for name, entry in tensors.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _tensor(name: str, entry: Mapping[str, Any]) -> TensorChange:
    return TensorChange(
        name=name,
        place=TensorName.parse(name),
        shape=tuple(int(side) for side in entry.get("shape", ())),
        norm=float(entry["norm"]),
        relative=finite_or_none(entry.get("relative")),
        entropy_rank=finite_or_none(entry.get("entropy_rank")),
        rank_90=entry.get("rank_90"),
        rank_reason=entry.get("rank_reason"),
    )


def _charts(tensors: list[TensorChange]) -> list[Chart]:
    """One map for displacement and, where they were measured, one for ranks."""
    matrices = [one for one in tensors if one.is_matrix]
    parts = list(dict.fromkeys(one.place.part for one in matrices))
    if not 0 < len(parts) <= PARTS_MAX:
        return []
    names = short_names(parts)
    charts = [_displacement_chart(matrices, tensors, names)]
    if any(one.rank_is_known for one in matrices):
        charts.append(_rank_chart(matrices, tensors, names))
    return charts


def short_names(parts: list[str]) -> dict[str, str]:
    """Each part by the last word of its name, or as much of it as tells it from the others."""
    names = {}
    for part in parts:
        words = part.split(".")
        for count in range(1, len(words) + 1):
            names[part] = ".".join(words[-count:])
            if not any(f".{other}".endswith(f".{names[part]}") for other in parts if other != part):
                break
    return names


def _cell(one: TensorChange, names: dict[str, str], value: float | None, *tip: str) -> HeatCell:
    shape = " × ".join(f"{side:,}" for side in one.shape)
    title = f"Layer {one.place.layer}, {names[one.place.part]}"
    return HeatCell(
        column=one.place.layer or 0,
        row=names[one.place.part],
        value=value,
        tip=[title, *tip, shape],
    )


def _displacement_chart(
    matrices: list[TensorChange], tensors: list[TensorChange], names: dict[str, str]
) -> Chart:
    def percent(one: TensorChange) -> float | None:
        return None if one.relative is None else 100 * one.relative

    shown = sorted(tensors, key=lambda one: -(one.relative or 0.0))[:TABLE_ROWS_MAX]
    return heat_chart(
        title="Displacement by layer and matrix",
        x_label="layer",
        unit="%",
        cells=[
            _cell(
                one,
                names,
                percent(one),
                f"{text_of(percent(one))} % of its norm",
                f"moved {text_of(one.norm)}",
            )
            for one in matrices
        ],
        row_names=list(names.values()),
        table_columns=["tensor", "% of its norm", "moved"],
        table_rows=[[one.name, text_of(percent(one)), text_of(one.norm)] for one in shown],
        caption="How far each matrix moved from the parent's, in parts of its own norm.",
    )


def _rank_chart(
    matrices: list[TensorChange], tensors: list[TensorChange], names: dict[str, str]
) -> Chart:
    asked = [one for one in tensors if one.rank_is_known or one.rank_reason]
    shown = sorted(asked, key=lambda one: -(one.entropy_rank or 0.0))[:TABLE_ROWS_MAX]
    return heat_chart(
        title="Rank of the change by layer and matrix",
        x_label="layer",
        unit="",
        cells=[_cell(one, names, one.entropy_rank, *_rank_words(one)) for one in matrices],
        row_names=list(names.values()),
        table_columns=["matrix", "entropy rank", "holds 90 %", "at most"],
        table_rows=[
            [
                one.name if one.rank_reason is None else f"{one.name}: {one.rank_reason}",
                text_of(one.entropy_rank),
                text_of(one.rank_90),
                f"{one.side:,}",
            ]
            for one in shown
        ],
        caption="In how many directions each matrix was changed (entropy rank). A cross: not "
        "measured, and why.",
    )


def _rank_words(one: TensorChange) -> list[str]:
    if not one.rank_is_known:
        return [f"not measured: {one.rank_reason or 'it is not a matrix'}"]
    return [
        f"entropy rank {text_of(one.entropy_rank)} of at most {one.side:,}",
        f"{one.rank_90:,} directions hold 90 %",
    ]
