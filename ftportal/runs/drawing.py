"""What a chart of a run is made of, and how often what it shows was measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ftportal.pages.charts import Series
from ftportal.runs.metrics import metric_series, metric_smooth
from ftportal.runs.models import Metric, Run


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


def smooth(run: Run, name: str, title: str) -> Series:
    """A metric's trailing mean, its values as faint points."""
    points = metric_smooth(run, name)
    return Series(name=title, x=points.steps, y=points.means, raw=points.measured)


def plain(run: Run, name: str, title: str) -> Series:
    """A metric as it was measured."""
    steps, values = metric_series(run, name)
    return Series(name=title, x=steps, y=values)


def sampled_words(run: Run, name: str, unmeasured: str = "") -> str:
    """How often a metric was measured so far; before the first time "", `unmeasured` at the end."""
    measured = Metric.objects.filter(run=run, name=name).count()
    steps = Metric.objects.filter(run=run, name="loss_nats").count()
    if not measured:
        return "" if run.job.is_live or not steps else unmeasured
    if measured >= steps:
        return "Measured after every step."
    share = (run.recipe.get("diagnostics") or {}).get("diagnostics_share", 0.05)
    times = "once" if measured == 1 else f"{measured:,} times"
    return f"Measured {times} in {steps:,} steps: it may take {100 * share:g} % of the time."
