"""The charts of compare and lineage."""

from collections.abc import Sequence

from evaluation.judging.verdict import POOLED_TITLE
from ftportal.dashboard.selectors.line import Entry, Line
from ftportal.dashboard.selectors.tradeoff import Trade
from ftportal.pages.charts import Chart, Series, line_chart
from ftportal.pages.point_charts import Spot, scatter_chart
from ftportal.runs.metrics import MEAN_STEPS, Key, SmoothSeries, metric_lines
from ftportal.runs.models import Run

POINTS_MOST = 300
"""Points a curve; longer ones keep the lowest and the highest of equal stretches."""
ZOOM = "curves"
_CURVES = (
    ("loss_nats", "Loss", "nats a decision token", True),
    ("gradient_norm", "Gradient norm", "L2 norm before clipping", True),
    ("displacement", "Displacement from the parent", "L2 norm of the weights' change", False),
)


def run_curves(runs: Sequence[Run]) -> list[Chart]:
    """Loss, gradient norm and displacement of several runs, each on shared axes."""
    drawn: dict[Key, SmoothSeries] = {}
    for smooth in (True, False):
        names = [name for name, *_, by_means in _CURVES if by_means == smooth]
        keys = [run.pk for run in runs]
        drawn |= metric_lines(keys, names, POINTS_MOST, by_means=smooth)
    last = max((line.steps[-1] for line in drawn.values()), default=0)
    charts = []
    for name, title, unit, smooth in _CURVES:
        lines = [(run.name, drawn.get((run.pk, name))) for run in runs]
        series = [
            Series(name=of, x=line.steps, y=line.means if smooth else line.measured)
            for of, line in lines
            if line is not None
        ]
        if series:
            charts.append(
                line_chart(
                    title=title,
                    x_label="step",
                    y_label=unit,
                    series=series,
                    y_from_zero=True,
                    caption=f"Mean of the last {MEAN_STEPS} steps." if smooth else "",
                    x_range=(0, max(1, last)),
                    zoom_group=ZOOM,
                )
            )
    return charts


def trade_chart(trades: Sequence[Trade]) -> Chart | None:
    """What each session learned against what it lost; None while fewer than two are known."""
    spots = {one.run.pk: _spot(one) for one in trades if one.is_known}
    if len(spots) < 2:
        return None
    return scatter_chart(
        title="Learning against forgetting",
        x_label="learned: nats a decision token on its own held-out examples",
        y_label="lost: percent of perplexity on general text",
        spots=list(spots.values()),
        front=[spots[one.run.pk] for one in trades if one.is_best],
        caption="Right and low is good. Bars are 95 % intervals, both against the parent. The "
        "dashed line joins the sessions that none of the others beats on both axes.",
    )


def _spot(one: Trade) -> Spot:
    loss = one.loss.hundredths
    return Spot(
        name=one.run.name,
        x=one.gain.value or 0.0,
        x_low=one.gain.low,
        x_high=one.gain.high,
        y=loss["value"] or 0.0,
        y_low=loss["low"],
        y_high=loss["high"],
    )


def line_charts(line: Line) -> list[Chart]:
    """Accuracy and perplexity against the pre-trained model over the sessions of a line."""
    charts = []
    answers = [(one.number, one.accuracy) for one in line.sessions]
    if any(entry.total.value is not None for _, entry in answers):
        charts.append(
            line_chart(
                title="Right answers against the pre-trained model",
                x_label="session",
                y_label="points of 100 answers",
                series=[_ledger_series(POOLED_TITLE, answers), _budget(answers)],
                caption="Lower is worse. The band is the 95 % interval; below the dashed line, "
                "the budget of all sessions, too much is lost.",
            )
        )
    texts = {
        name: [
            (one.number, one.perplexity[name]) for one in line.sessions if name in one.perplexity
        ]
        for name in line.texts
    }
    if texts:
        charts.append(
            line_chart(
                title="Perplexity against the pre-trained model",
                x_label="session",
                y_label="change in percent",
                series=[
                    *(_ledger_series(name, entries) for name, entries in texts.items()),
                    _budget(max(texts.values(), key=len)),
                ],
                caption="Higher is worse. Bands are 95 % intervals; above the dashed line, the "
                "budget of all sessions, too much is lost.",
            )
        )
    return charts


def _ledger_series(name: str, entries: Sequence[tuple[int, Entry]]) -> Series:
    """One measure over the sessions, from the pre-trained model's zero on."""
    values = [entry.percents for _, entry in entries]
    return Series(
        name=name,
        x=[0.0, *(float(number) for number, _ in entries)],
        y=[0.0, *(one["total"] for one in values)],
        lower=[0.0, *(one["low"] for one in values)],
        upper=[0.0, *(one["high"] for one in values)],
    )


def _budget(entries: Sequence[tuple[int, Entry]]) -> Series:
    allowed = [entry.percents["allowed"] for _, entry in entries]
    return Series(
        name="Allowed in all",
        x=[0.0, *(float(number) for number, _ in entries)],
        y=[allowed[0], *allowed],
        is_limit=True,
    )
