"""The charts of what a run forgets while it trains, and of what holds it back."""

from collections.abc import Mapping

from ftportal.pages.charts import Series
from ftportal.runs.drawing import Drawing, lines, plain
from ftportal.runs.metrics import SmoothSeries
from ftportal.runs.models import Run
from ftportal.runs.recipes import batch_key
from ftportal.runs.watching import is_watched, percent, probe_key


def _penalties(run: Run) -> dict[str, str]:
    """The metrics of what the defences add to the loss, and their titles."""
    names = {"l2_strength": ("l2", "L2"), "ewc_strength": ("ewc", "EWC")}
    defences = run.recipe.get("defences") or {}
    return {
        f"penalty_nats/{metric}": word
        for field, (metric, word) in names.items()
        if defences.get(field) is not None
    }


def _penalty(run: Run) -> list[Series]:
    return plain(run, _penalties(run))


def _probes(run: Run) -> dict[str, str]:
    """The watched texts by key: the chosen one, and the held-out examples of every batch."""
    chosen = {probe_key(run.probe_set): str(run.probe_set)} if run.probe_set else {}
    batches = [part.batch for part in run.mixture.select_related("batch")]
    held_out = {batch_key(one): f"{one}, held out" for one in batches if one.held_out_count}
    return chosen | held_out


def _rises(run: Run) -> list[Series]:
    return [_rise(name, line) for name, line in _perplexities(run)]


def _perplexities(run: Run) -> list[tuple[str, SmoothSeries]]:
    titles = {f"probe_perplexity_per_token/{key}": name for key, name in _probes(run).items()}
    return lines(run, titles)


def _parent_of(line: SmoothSeries) -> float | None:
    """The parent's perplexity: the value of step 0."""
    return line.measured[0] if line.steps[:1] == [0] else None


def _rise(name: str, line: SmoothSeries) -> Series:
    """Perplexity over that of the parent in percent."""
    parent = _parent_of(line)
    rises = [None if not parent or v is None else 100 * (v / parent - 1) for v in line.measured]
    return Series(name=name, x=line.steps, y=rises)


def _limit(run: Run) -> Mapping[str, float]:
    rise = (run.recipe.get("watch") or {}).get("brake_rise")
    return {} if rise is None else {f"brake {percent(rise)}": 100 * rise}


def _parents(run: Run) -> str:
    """The parent's perplexities, which the lines are drawn over."""
    parents = [(name, _parent_of(line)) for name, line in _perplexities(run)]
    known = [f"{name} {value:.1f}" for name, value in parents if value is not None]
    tokens = (run.recipe.get("watch") or {}).get("watch_probe_tokens")
    part = f"{tokens:,} tokens of each text" if tokens else "a part of each text"
    words = f" The parent's: {', '.join(known)}." if known else ""
    return f"A quick look at {part}; evaluations read more, so theirs differ.{words}"


def _divergence(run: Run) -> list[Series]:
    return plain(run, {"kl_to_parent_nats": "KL(parent ‖ model)"})


_PENALTY = Drawing(
    key="penalty",
    title="What the defences add to the loss",
    y_label="nats per decision token",
    group="forgetting",
    series=_penalty,
    caption="½ · strength · Σ importance · (weight − parent's weight)², before each step.",
    y_from_zero=True,
)
_PROBES = Drawing(
    key="probes",
    title="Watched perplexity, of text that is not learnt",
    y_label="% above the parent's",
    group="forgetting",
    series=_rises,
    words=_parents,
    marks=_limit,
)
_DIVERGENCE = Drawing(
    key="divergence",
    title="Divergence from the parent",
    y_label="nats per token",
    group="forgetting",
    series=_divergence,
    caption="How differently it predicts the run's own answers: KL(parent ‖ model), the mean over "
    "tokens. An early warning.",
    y_from_zero=True,
    sampled="kl_to_parent_nats",
)


def forgetting_drawings(run: Run) -> list[Drawing]:
    """The charts that the run's recipe asks for; none for runs before there were any."""
    drawings = [_PENALTY] if _penalties(run) else []
    if run.recipe.get("watch") and is_watched(run.recipe):
        drawings += [_PROBES] if _probes(run) else []
        drawings.append(_DIVERGENCE)
    return drawings
