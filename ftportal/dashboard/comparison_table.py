"""The one table of a comparison: groups of rows, a cell a run; the page and the CSV share it."""

from collections.abc import Mapping

from ftportal.checkpoints.models import Checkpoint
from ftportal.dashboard.comparison_cells import Badge, Cell, Group, Row
from ftportal.dashboard.comparison_scores import benchmark_group, text_group
from ftportal.dashboard.recipes import recipe_rows
from ftportal.dashboard.selectors.comparison import Column, Comparison
from ftportal.evaluations.selectors import Change
from ftportal.pages.templatetags.pages import duration, fixed, signed
from ftportal.promotions.stages import stage_word


def comparison_groups(compared: Comparison, *, whole_recipe: bool) -> list[Group]:
    """All groups of the table: what came out, what it cost, what differed, what it took."""
    return [
        _outcome_group(compared),
        text_group(compared),
        benchmark_group(compared),
        _recipe_group(compared, whole_recipe=whole_recipe),
        _effort_group(compared),
    ]


def _outcome_group(compared: Comparison) -> Group:
    rows = [
        Row(title="Verdict", cells=[_verdict_cell(one) for one in compared.columns], numeric=False),
        Row(
            title="Stage",
            cells=[_stage_cell(compared.stages, column) for column in compared.columns],
            numeric=False,
        ),
        *(
            Row(
                title=f"Training loss, {which} steps",
                unit="nats a decision token",
                cells=[_loss_cell(column, which) for column in compared.columns],
            )
            for which in ("first", "last")
        ),
        Row(
            title="Learned, own held-out examples",
            unit="nats a decision token less than the parent",
            cells=[
                _trade_cell(one.gain, scale=1, places=3, unit="nats") for one in compared.trades
            ],
        ),
        Row(
            title="Lost, all held-out text together",
            unit="relative rise of perplexity since the parent",
            cells=[_trade_cell(one.loss, scale=100, places=1, unit="%") for one in compared.trades],
        ),
    ]
    return Group(title="What came out", note="", rows=rows)


def _verdict_cell(column: Column) -> Cell:
    if not column.verdicts:
        return Cell(note=column.why_unmeasured or "no verdict yet")
    badges = [
        Badge(
            state=verdict.outcome,
            note=_against(verdict.before.checkpoint),
            url_name="evaluations:verdict",
            key=verdict.pk,
        )
        for verdict in column.verdicts
    ]
    words = "; ".join(f"{badge.state} {badge.note}" for badge in badges)
    return Cell(text=words, badges=badges)


def _against(checkpoint: Checkpoint) -> str:
    name = "the pre-trained model" if checkpoint.is_pretrained else str(checkpoint)
    return f"against {name}"


def _stage_cell(stage_of: Mapping[int, str], column: Column) -> Cell:
    result = column.result
    if result is None:
        return Cell(note=column.why_unmeasured)
    review = column.review
    if review is not None and review.is_open:
        key = review.spot_check.pk
        badge = Badge(state="open", word=review.word, url_name="reviews:spot_check", key=key)
        return Cell(text=review.word, badges=[badge])
    state = stage_word(stage_of.get(result.pk, "candidate"))
    badge = Badge(state=state, url_name="checkpoints:checkpoint", key=result.pk)
    note = review.spot_check.decision_reason if review is not None else ""
    return Cell(text=state, badges=[badge], note=note)


def _loss_cell(column: Column, which: str) -> Cell:
    if column.loss is None:
        return Cell(note="no step yet")
    nats = column.loss.first_nats if which == "first" else column.loss.last_nats
    return Cell(text=fixed(nats, 2), value=nats)


def _trade_cell(change: Change, *, scale: float, places: int, unit: str) -> Cell:
    """What one session learned or lost, against its parent whatever the chosen baseline."""
    if change.value is None:
        return Cell(note=change.why_missing)
    details = []
    if change.low is not None and change.high is not None:
        low, high = (signed(scale * bound, places) for bound in (change.low, change.high))
        details = [f"{low} to {high}"]
    text = f"{signed(scale * change.value, places)} {unit}"
    return Cell(text=text, details=details, value=change.value, change=change)


def _recipe_group(compared: Comparison, *, whole_recipe: bool) -> Group:
    every = recipe_rows([column.run for column in compared.columns])
    shown = every if whole_recipe else [row for row in every if row.differs]
    rows = [
        Row(title=row.label, cells=[Cell(text=value) for value in row.values], numeric=False)
        for row in shown
    ]
    if whole_recipe:
        note = "Every setting."
    elif rows:
        note = f"Only what differs; {len(every) - len(rows)} settings are the same."
    else:
        note = "Nothing differs: the same parent, batches and settings."
    return Group(title="Recipe", note=note, rows=rows)


def _effort_group(compared: Comparison) -> Group:
    rows = [
        Row(
            title="Moved from the parent",
            unit="L2 norm of the change of the weights",
            cells=[_number_cell(column.displacement) for column in compared.columns],
        ),
        *(
            []
            if all(one.run.parent.is_pretrained for one in compared.columns)
            else [_far_row(compared)]
        ),
        Row(
            title="Steps",
            cells=[
                _number_cell(column.loss.steps if column.loss else None, 0)
                for column in compared.columns
            ],
        ),
        Row(
            title="Time", unit="seconds", cells=[_time_cell(column) for column in compared.columns]
        ),
    ]
    return Group(
        title="Weights and time",
        note="How far the weights moved (L2 norm), and what the training took.",
        rows=rows,
    )


def _far_row(compared: Comparison) -> Row:
    """Says something of its own only where a run began at a trained checkpoint."""
    return Row(
        title="Moved from the pre-trained model",
        unit="L2 norm of the change of the weights",
        cells=[
            _number_cell(one.result.displacement_pretrained if one.result else None)
            for one in compared.columns
        ],
    )


def _number_cell(value: float | None, places: int = 2) -> Cell:
    return Cell(text=fixed(value, places), value=value)


def _time_cell(column: Column) -> Cell:
    job = column.run.job
    if job.started_at is None or job.finished_at is None:
        return Cell(note=column.why_unmeasured)
    seconds = (job.finished_at - job.started_at).total_seconds()
    return Cell(text=duration(seconds), value=seconds)
