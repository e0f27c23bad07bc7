"""What a chart of a run is made of, and how often what it shows was measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ftportal.pages.charts import Series
from ftportal.runs.metrics import NOTHING, SmoothSeries, metric_lines, summaries
from ftportal.runs.models import Run


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One chart of a run: what it says, and the lines in it."""

    key: str
    title: str
    y_label: str
    group: str
    """One of `drawings.GROUPS`: under which heading it stands."""
    series: Callable[[Run], list[Series]]
    caption: str = ""
    words: Callable[[Run], str] | None = None
    """The caption, where it depends on the run."""
    marks: Callable[[Run], Mapping[str, float]] | None = None
    """Dashed horizontal lines, label -> height."""
    y_from_zero: bool = False
    y_format: str = ""
    sampled: str = ""
    """The metric that is not measured after every step, where its caption has to say how often."""
    unmeasured: str = ""
    """Why a run that ended may never have measured it."""


_UNMEASURED = SmoothSeries(steps=[], means=[], measured=[])


def lines(run: Run, titles: Mapping[str, str]) -> list[tuple[str, SmoothSeries]]:
    """Title and line of each metric of name -> title, read at once; empty where not measured."""
    measured = metric_lines([run.pk], titles)
    return [(title, measured.get((run.pk, name), _UNMEASURED)) for name, title in titles.items()]


def smooth(run: Run, titles: Mapping[str, str]) -> list[Series]:
    """Trailing means of metrics (name -> title), their values as faint points."""
    return [
        Series(name=title, x=line.steps, y=line.means, raw=line.measured)
        for title, line in lines(run, titles)
    ]


def plain(run: Run, titles: Mapping[str, str]) -> list[Series]:
    """Metrics (name -> title) as they were measured."""
    return [Series(name=title, x=line.steps, y=line.measured) for title, line in lines(run, titles)]


def sampled_words(run: Run, name: str, unmeasured: str = "") -> str:
    """How often a metric was measured so far; before the first time "", `unmeasured` at the end."""
    known = summaries(run, [name, "loss_nats"])
    measured, steps = (known.get(one, NOTHING).count for one in (name, "loss_nats"))
    if not measured:
        return "" if run.job.is_live or not steps else unmeasured
    if measured >= steps:
        return "Measured after every step."
    share = (run.recipe.get("diagnostics") or {}).get("diagnostics_share", 0.05)
    times = "once" if measured == 1 else f"{measured:,} times"
    return f"Measured {times} in {steps:,} steps: it may take {100 * share:g} % of the time."
