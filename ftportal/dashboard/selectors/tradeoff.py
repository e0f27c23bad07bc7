"""What sessions learned on their own held-out examples, against what they lost in general."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from evaluation.judging.paired import Document
from ftportal.dashboard.selectors import measurements
from ftportal.dashboard.selectors.measurements import Measurement
from ftportal.dashboard.selectors.sessions import result_of
from ftportal.datasets.models import BatchKind
from ftportal.evaluations.models import ExampleLoss, Retention, Suite
from ftportal.evaluations.selectors import Change
from ftportal.evaluations.selectors.change import loss_change
from ftportal.evaluations.selectors.retention import PINNED
from ftportal.runs.models import Run

NOT_KEPT = "its batches set no examples aside"
NO_RESULT = "no checkpoint yet"


@dataclass(frozen=True, kw_only=True)
class Trade:
    """One session, against its parent."""

    run: Run
    gain: Change
    """How much less surprising its own held-out examples became, nats a decision token."""
    loss: Change
    """How much more surprising general text became: relative change of perplexity over the
    documents of all held-out sets together."""
    is_best: bool = False
    """Whether no other of these sessions learned as much for less, or more for as little."""

    @property
    def is_known(self) -> bool:
        """Whether it can be drawn."""
        return self.gain.value is not None and self.loss.value is not None


@dataclass(frozen=True, kw_only=True)
class _Slice:
    """One checkpoint on the examples that one batch set aside."""

    settings: dict
    examples: list[Document] = field(default_factory=list)


_Slices = dict[tuple[int, int], _Slice]


def trades(
    runs: Sequence[Run],
    measured: dict[int, Measurement],
    suite: Suite | None,
) -> list[Trade]:
    """A trade for each run, in their order; those that nothing beats are marked.

    `measured` has the measurements by `suite` of results and parents, by checkpoint. Reads
    `run.mixture` with its batches. A fixed number of queries.
    """
    gain_of = gains(runs, suite)
    drawn = []
    for run in runs:
        result = result_of(run)
        loss = Change(why_missing=NO_RESULT)
        if result is not None:
            loss = _loss(measured.get(run.parent_id), measured.get(result.pk))
        drawn.append(Trade(run=run, gain=gain_of[run.pk], loss=loss))
    return _best_marked(drawn)


def gains(runs: Sequence[Run], suite: Suite | None) -> dict[int, Change]:
    """Run -> what its result knows more than its parent of what it was taught; as `own_gains`.

    Two queries, however many runs. Reads `run.mixture` with its batches.
    """
    results = {run.pk: one.pk for run in runs if (one := result_of(run)) is not None}
    slices = _slices(
        {*(run.parent_id for run in runs), *results.values()},
        {batch for run in runs for batch in own_batches(run)},
        _dtype(suite),
    )
    nothing = Change(why_missing=NO_RESULT)
    return {
        run.pk: _gain(run, results[run.pk], slices) if run.pk in results else nothing
        for run in runs
    }


def own_gains(run: Run, checkpoint_ids: Collection[int], suite: Suite | None) -> dict[int, Change]:
    """What each of these checkpoints knows more than the run's parent of what the run learned.

    Nats a decision token on the held-out examples of the run's own batches, by checkpoint.
    """
    slices = _slices({run.parent_id, *checkpoint_ids}, own_batches(run), _dtype(suite))
    return {pk: _gain(run, pk, slices) for pk in checkpoint_ids}


def _dtype(suite: Suite | None) -> str:
    return str(suite.settings.get("dtype", "")) if suite else ""


def own_batches(run: Run) -> list[int]:
    """What the session was meant to teach: its batches without the general ones, if any are left.

    Only those that set examples aside.
    """
    parts = [part.batch for part in run.mixture.all() if part.batch.held_out_count]
    own = [batch.pk for batch in parts if batch.kind != BatchKind.GENERAL]
    return own or [batch.pk for batch in parts]


def _slices(checkpoint_ids: Collection[int], batch_ids: Collection[int], dtype: str) -> _Slices:
    slices = Retention.objects.filter(
        checkpoint__in=checkpoint_ids, batch__in=batch_ids, dtype=dtype, measured=True
    )
    by_pk = {one.pk: one for one in slices}
    examples: dict[int, list[Document]] = defaultdict(list)
    rows = ExampleLoss.objects.filter(retention__in=by_pk).order_by("doc_hash")
    for key, doc_hash, nll_nats, tokens in rows.values_list(
        "retention", "doc_hash", "nll_nats", "tokens"
    ):
        # The same example may have been set aside by two batches: it counts for each.
        name = f"{by_pk[key].batch_id} {doc_hash}"
        examples[key].append(Document(doc_hash=name, nll_nats=nll_nats, tokens=tokens))
    return {
        (one.checkpoint_id, one.batch_id): _Slice(settings=one.settings, examples=examples[one.pk])
        for one in by_pk.values()
    }


def _gain(run: Run, result_id: int, slices: _Slices) -> Change:
    batches = own_batches(run)
    if not batches:
        return Change(why_missing=NOT_KEPT)
    before: list[Document] = []
    after: list[Document] = []
    for batch in batches:
        then, now = slices.get((run.parent_id, batch)), slices.get((result_id, batch))
        if then is None or now is None:
            return Change(why_missing="not measured on its own held-out examples yet")
        if any(then.settings.get(name) != now.settings.get(name) for name in PINNED):
            return Change(why_missing="measured with different settings: measure both alike")
        before += then.examples
        after += now.examples
    # From after to before: a fall of the loss is a gain.
    return loss_change("own examples", after, before)


def _loss(before: Measurement | None, after: Measurement | None) -> Change:
    if before is None or after is None:
        return Change(why_missing="not measured yet, or its parent is not")
    return measurements.text_change(_all_texts(before), _all_texts(after), _ALL)


_ALL = "general text"


def _all_texts(measured: Measurement) -> Measurement:
    """The documents of all held-out sets as one set; what stands in two of them counts in each."""
    together = [
        replace(text, doc_hash=f"{name} {text.doc_hash}")
        for name, texts in measured.texts.items()
        for text in texts
    ]
    return Measurement(texts={_ALL: together})


def _best_marked(drawn: Sequence[Trade]) -> list[Trade]:
    """Mark the Pareto front: gain up, loss down."""
    known = [one for one in drawn if one.is_known]

    def is_best(one: Trade) -> bool:
        return one.is_known and not any(_beats(other, one) for other in known)

    return [Trade(run=one.run, gain=one.gain, loss=one.loss, is_best=is_best(one)) for one in drawn]


def _beats(other: Trade, one: Trade) -> bool:
    """Whether `other` is at least as good on both axes and better on one."""
    gains, losses = (other.gain.value, one.gain.value), (other.loss.value, one.loss.value)
    if None in gains or None in losses:
        return False
    more, less = gains[0] - gains[1], losses[1] - losses[0]  # type: ignore[operator]
    return more >= 0 and less >= 0 and (more > 0 or less > 0)
