"""The charts of what a run measures beside its loss."""

from ftportal.pages.charts import Series
from ftportal.runs.drawing import Drawing, plain
from ftportal.runs.models import Run


def _sparsity(run: Run) -> list[Series]:
    titles = {"entries": "Entries", "rows": "Whole rows"}
    return plain(run, {f"gradient_{of}_small_share": title for of, title in titles.items()})


def _rank(run: Run) -> list[Series]:
    return plain(run, {"middle_entropy_rank": "Entropy rank", "middle_rank_90": "Holds 90 %"})


def _cosine(run: Run) -> list[Series]:
    return plain(run, {"gradient_cosine": "Cosine"})


def _sharpness(run: Run) -> list[Series]:
    return plain(run, {"sharpness": "Sharpness"})


_SPARSITY = Drawing(
    key="sparsity",
    title="Gradient that is nearly nothing",
    y_label="share",
    group="weights",
    series=_sparsity,
    caption="Under a thousandth of the tensor's largest entry. The more, the fewer weights learn.",
    y_from_zero=True,
    sampled="gradient_entries_small_share",
)
_COSINE = Drawing(
    key="cosine",
    title="Frozen against full gradient",
    y_label="cosine",
    group="weights",
    series=_cosine,
    caption="How alike the directions are, of one example each time: 1 means that freezing the "
    "context changes nothing, 0 that the two have nothing in common.",
    sampled="gradient_cosine",
    unmeasured="Not measured: once would have taken more than its share of so short a session.",
)
_SHARPNESS = Drawing(
    key="sharpness",
    title="Sharpness along the step",
    y_label="nats per unit² of weight",
    group="weights",
    series=_sharpness,
    caption="How the loss bends in the direction of the step: vᵀHv/‖v‖², on a few fixed examples.",
    sampled="sharpness",
)
_RANK = Drawing(
    key="rank",
    title="Rank of the change, middle layer",
    y_label="rank",
    group="weights",
    series=_rank,
    caption="In how many directions its matrices have changed: their mean, weighted by size.",
    y_from_zero=True,
    sampled="middle_rank_90",
)


def diagnostics_drawings(run: Run) -> list[Drawing]:
    """The charts that the run's recipe asks for; none for runs before there were any."""
    settings = run.recipe.get("diagnostics")
    if not settings:
        return []
    drawings = [_RANK] if settings.get("change_rank", True) else []
    if settings.get("gradient_sparsity", True):
        drawings.append(_SPARSITY)
    # Runs of the time before it was measured do not name it.
    if settings.get("gradient_cosine", False) and run.recipe.get("context_frozen"):
        drawings.append(_COSINE)
    if settings.get("sharpness", True) and run.recipe.get("dtype") == "float32":
        drawings.append(_SHARPNESS)
    return drawings
