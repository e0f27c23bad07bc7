"""Two to eight runs side by side: which runs an address means, and everything known of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from evaluation.judging.rule import Rule
from ftportal.checkpoints.models import Checkpoint
from ftportal.dashboard.selectors import measurements, sessions
from ftportal.dashboard.selectors.measurements import Measurement
from ftportal.dashboard.selectors.sessions import LossEnds, ReviewState
from ftportal.dashboard.selectors.tradeoff import Trade, trades
from ftportal.evaluations.models import Suite, Verdict
from ftportal.pages.lists import key_of
from ftportal.promotions.selectors import stages
from ftportal.runs.models import Run
from ftportal.runs.selectors import run_list

FEWEST, MOST = 2, 8
BASELINES = {
    "parent": "each run's parent",
    "anchor": "the pre-trained model",
    "first": "the first run",
}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The runs that an address names, in its order, and what is wrong with the address."""

    runs: Sequence[Run]
    problems: Sequence[str]

    @property
    def enough(self) -> bool:
        """Whether there is something to compare."""
        return len(self.runs) >= FEWEST


def selection(wanted: Sequence[str]) -> Selection:
    """Find the runs named by `wanted`, the values of the address's `run`.

    Doubles count once; unknown ones and those after the eighth are left out and said so.
    """
    unique = list(dict.fromkeys(text for text in wanted if text))
    keys = [key for text in unique if (key := key_of(text)) is not None]
    by_key = _runs().in_bulk(keys)
    runs = [by_key[key] for key in keys if key in by_key]
    problems = []
    missing = len(unique) - len(runs)
    if missing:
        subject = "One run" if missing == 1 else f"{missing} runs"
        problems.append(f"{subject} of this address cannot be found: removed, or mistyped.")
    if len(runs) > MOST:
        problems.append(
            f"{len(runs)} runs were asked for and at most {MOST} fit side by side: "
            f"the first {MOST} are shown."
        )
    return Selection(runs=runs[:MOST], problems=problems)


def _runs() -> QuerySet[Run]:
    return Run.objects.select_related(
        "parent__language_model", "output", "same_as", "job", "submitter", "probe_set"
    ).prefetch_related("mixture__batch")


def runs_to_add(chosen: Sequence[Run], text: str = "", limit: int = 20) -> QuerySet[Run]:
    """Runs that may still be added, newest first; with `text` those that `run_list` finds by it."""
    others = run_list(text=text).exclude(pk__in=[run.pk for run in chosen])
    return others.order_by("-created_at")[:limit]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One run of a comparison with everything that its column shows."""

    run: Run
    result: Checkpoint | None
    """What the run ended in; None while it has not."""
    baseline: Checkpoint | None
    after: Measurement | None
    before: Measurement | None
    loss: LossEnds | None
    displacement: float | None
    """L2 norm of the weights minus the parent's, after the last step."""
    verdicts: Sequence[Verdict]
    review: ReviewState | None

    @property
    def is_baseline(self) -> bool:
        """Whether the run is what the others are compared with."""
        return self.baseline is not None and self.baseline == self.result

    @property
    def is_cumulative(self) -> bool:
        """Whether the baseline is the pre-trained model several sessions back."""
        return (
            self.baseline is not None
            and self.baseline.is_pretrained
            and self.result is not None
            and self.result.depth > 1
        )

    @property
    def why_unmeasured(self) -> str:
        """Why the run has no scores yet, in words; empty where it has."""
        if self.after is not None:
            return ""
        job = self.run.job
        if job.is_live:
            return "still training"
        return "not measured yet" if self.result else f"no checkpoint: {self.run.state}"

    @property
    def why_unpaired(self) -> str:
        """Why there is no difference to the baseline; empty where there is one."""
        if self.is_baseline:
            return "the baseline"
        if self.baseline is None:
            return "the first run has no checkpoint"
        return f"{self.baseline} is not measured yet" if self.before is None else ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs, their columns, and the suite that measured them."""

    columns: Sequence[Column]
    suite: Suite | None
    baseline: str
    rule: Rule | None
    """Of the suite: what it allows a session to lose."""
    one_tokenizer: bool
    """False where tokens differ between what was measured, as between language models: then
    perplexity a token says nothing."""
    trades: Sequence[Trade]
    """What each run learned against what it lost, in the order of the columns."""
    stages: Mapping[int, str]
    """Checkpoint -> where it stands, as it may be told to who looks."""

    def rule_for(self, column: Column) -> Rule:
        """What the column's run may lose against its baseline, as verdicts have it."""
        rule = self.rule or Rule()
        return rule.against_anchor() if column.is_cumulative else rule


def comparison(*, runs: Sequence[Run], baseline: str, viewer: object = None) -> Comparison:
    """Everything about these runs, against `baseline` (a key of BASELINES)."""
    of_run = _baselines(runs, baseline)
    results = sessions.results_of(runs)
    parents = {run.parent_id for run in runs}  # what each session traded is told against them
    checkpoint_ids = {*results, *parents, *(one.pk for one in of_run.values() if one is not None)}
    suite = measurements.suite_in_common(checkpoint_ids)
    evaluation_of = measurements.evaluations_by_checkpoint(checkpoint_ids, suite)
    measured = measurements.measurements(evaluation_of.values())

    def measurement(checkpoint_id: int) -> Measurement | None:
        return measured.get(evaluation_of.get(checkpoint_id, 0))

    run_ids = [run.pk for run in runs]
    losses = sessions.loss_ends(run_ids)
    moved = sessions.last_values(run_ids, "displacement")
    verdicts = sessions.verdicts_by_candidate(results)
    reviews = sessions.reviews_by_candidate(results, viewer)
    columns = []
    for run in runs:
        base, result = of_run[run.pk], sessions.result_of(run)
        key = result.pk if result is not None else 0
        columns.append(
            Column(
                run=run,
                result=result,
                baseline=base,
                after=measurement(key),
                before=measurement(base.pk if base is not None else 0),
                loss=losses.get(run.pk),
                displacement=moved.get(run.pk),
                verdicts=verdicts.get(key, []),
                review=reviews.get(key),
            )
        )
    return Comparison(
        columns=columns,
        suite=suite,
        baseline=baseline,
        rule=Rule.from_json(suite.rule.rule) if suite is not None else None,
        one_tokenizer=len({run.parent.language_model_id for run in runs}) == 1
        and len(set(measurements.tokenizers(evaluation_of.values()).values())) <= 1,
        trades=trades(
            runs,
            {pk: measured[evaluation] for pk, evaluation in evaluation_of.items()},
            suite,
        ),
        stages=stages(results, viewer),
    )


def _baselines(runs: Sequence[Run], baseline: str) -> dict[int, Checkpoint | None]:
    """Run -> the checkpoint it is compared with."""
    if baseline == "first":
        return {run.pk: sessions.result_of(runs[0]) for run in runs}
    if baseline == "anchor":
        models = {run.parent.language_model_id for run in runs}
        anchors = Checkpoint.objects.filter(language_model__in=models, parent__isnull=True)
        by_model = {anchor.language_model_id: anchor for anchor in anchors}
        return {run.pk: by_model.get(run.parent.language_model_id) for run in runs}
    return {run.pk: run.parent for run in runs}
