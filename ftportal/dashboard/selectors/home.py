"""Where the work stands: the pipeline in numbers, the champions, the latest sessions."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, Q
from django.urls import reverse

from ftportal.checkpoints.models import Alias, Checkpoint, LanguageModel
from ftportal.checkpoints.selectors import CHAMPION
from ftportal.dashboard.selectors import sessions
from ftportal.dashboard.selectors.costs import Cost, costs
from ftportal.dashboard.selectors.measurements import suite_in_common
from ftportal.dashboard.selectors.sessions import LossEnds, ReviewState
from ftportal.dashboard.selectors.tradeoff import gains
from ftportal.datasets.models import WORKING_STATES, Batch, BatchState
from ftportal.evaluations.models import Evaluation, Verdict
from ftportal.evaluations.selectors import Change
from ftportal.jobs.models import LIVE_STATES, Job, JobState
from ftportal.promotions.models import PromotionEvent
from ftportal.promotions.selectors import stages
from ftportal.promotions.stages import stage_word
from ftportal.reviews.models import SpotCheck, SpotCheckState
from ftportal.runs.models import Run
from ftportal.runs.recipes import method_name

SESSIONS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the pipeline: how much there is, and what goes on in it now."""

    title: str
    icon: str
    url: str
    count: int
    what: str
    now: str = ""


def path_steps() -> list[Step]:
    """batch -> run -> checkpoint -> evaluation -> review -> promotion, in one query each."""
    live = Q(job__state__in=LIVE_STATES)
    batches = Batch.objects.aggregate(
        ready=Count("pk", filter=Q(state=BatchState.READY)),
        reading=Count("pk", filter=Q(state__in=WORKING_STATES)),
    )
    runs = Run.objects.aggregate(all=Count("pk"), live=Count("pk", filter=live))
    checkpoints = Checkpoint.objects.filter(deleted_at__isnull=True).count()
    evaluations = Evaluation.objects.aggregate(
        measured=Count("pk", filter=Q(measured=True)), live=Count("pk", filter=live)
    )
    reviews = SpotCheck.objects.aggregate(
        decided=Count("pk", filter=Q(decided_at__isnull=False)),
        open=Count("pk", filter=Q(state=SpotCheckState.OPEN)),
        preparing=Count("pk", filter=Q(state=SpotCheckState.GENERATING)),
    )
    promotions = PromotionEvent.objects.count()
    open_reviews = _now(reviews["open"], "open") or _now(reviews["preparing"], "being prepared")
    return [
        Step(
            title="Batches",
            icon="batch",
            url=reverse("datasets:batches"),
            count=batches["ready"],
            what="ready",
            now=_now(batches["reading"], "being read"),
        ),
        Step(
            title="Runs",
            icon="run",
            url=reverse("runs:runs"),
            count=runs["all"],
            what="started",
            now=_now(runs["live"], "in progress"),
        ),
        Step(
            title="Checkpoints",
            icon="checkpoint",
            url=reverse("checkpoints:checkpoints"),
            count=checkpoints,
            what="kept",
        ),
        Step(
            title="Evaluations",
            icon="evaluation",
            url=reverse("evaluations:evaluations"),
            count=evaluations["measured"],
            what="measured",
            now=_now(evaluations["live"], "in progress"),
        ),
        Step(
            title="Reviews",
            icon="review",
            url=reverse("reviews:reviews"),
            count=reviews["decided"],
            what="decided",
            now=open_reviews,
        ),
        Step(
            title="Promotions",
            icon="promotion",
            url=reverse("promotions:promotions"),
            count=promotions,
            what="in the ledger",
        ),
    ]


def _now(count: int, what: str) -> str:
    return f"{count} {what}" if count else ""


@dataclass(frozen=True, kw_only=True)
class Session:
    """One run as a row of the home page."""

    run: Run
    result: Checkpoint | None
    method: str
    general_share: float | None
    gain: Change
    """How much less surprising the examples set aside from what it was taught became, nats."""
    loss: LossEnds | None
    """Of training itself, shown where `gain` is not known."""
    cost: Cost | None
    verdict: Verdict | None
    """The worst of its newest verdicts, for one is enough to bar it."""
    review: ReviewState | None
    stage: str


def latest_sessions(viewer: object = None) -> list[Session]:
    """The newest runs with what each learned, cost and became; a fixed number of queries."""
    runs = list(
        Run.objects.select_related("job", "submitter", "parent", "output", "same_as")
        .prefetch_related("mixture__batch")
        .order_by("-created_at")[:SESSIONS_SHOWN]
    )
    result_of = {run.pk: sessions.result_of(run) for run in runs}
    results = sessions.results_of(runs)
    ends = {*results, *(run.parent_id for run in runs)}
    gain_of = gains(runs, suite_in_common(ends))
    cost_of = costs([(run.parent, one) for run in runs if (one := result_of[run.pk]) is not None])
    losses = sessions.loss_ends([run.pk for run in runs])
    verdicts = sessions.verdicts_by_candidate(results)
    reviews = sessions.reviews_by_candidate(results, viewer)
    stage_of = stages(results, viewer)
    rows = []
    for run in runs:
        result = result_of[run.pk]
        key = result.pk if result is not None else 0
        rows.append(
            Session(
                run=run,
                result=result,
                method=method_name(run.recipe),
                general_share=sessions.general_share(run),
                gain=gain_of[run.pk],
                loss=losses.get(run.pk),
                cost=cost_of.get((run.parent_id, key)),
                verdict=next(iter(verdicts.get(key, [])), None),
                review=reviews.get(key),
                stage=stage_word(stage_of.get(key, "")),
            )
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The checkpoint in force of one language model, and what it lost since pre-training."""

    language_model: LanguageModel
    checkpoint: Checkpoint
    event: PromotionEvent | None
    """The ledger's entry that put it in force."""
    cost: Cost | None

    @property
    def is_pretrained(self) -> bool:
        """Whether no session has been promoted, or all were rolled back."""
        return self.checkpoint.is_pretrained


def champions() -> list[Champion]:
    """The champion of every language model; the pre-trained checkpoint where there is none."""
    models = list(LanguageModel.objects.all())
    anchors = {one.language_model_id: one for one in Checkpoint.objects.filter(parent__isnull=True)}
    in_force = {
        alias.language_model_id: alias.checkpoint
        for alias in Alias.objects.filter(name=CHAMPION).select_related("checkpoint")
    }
    chosen = {pk: in_force.get(pk, anchor) for pk, anchor in anchors.items()}
    entries = PromotionEvent.objects.filter(to_checkpoint__in=list(chosen.values()))
    events = {  # the newest entry of each stays
        event.to_checkpoint_id: event
        for event in entries.select_related("actor").order_by("number")
    }
    cost_of = costs([(anchors[pk], one) for pk, one in chosen.items() if one != anchors[pk]])
    champions = []
    for model in models:
        if model.pk in chosen:
            checkpoint = chosen[model.pk]
            champions.append(
                Champion(
                    language_model=model,
                    checkpoint=checkpoint,
                    event=events.get(checkpoint.pk),
                    cost=cost_of.get((anchors[model.pk].pk, checkpoint.pk)),
                )
            )
    return champions


@dataclass(frozen=True, kw_only=True)
class LiveJobs:
    """Jobs at work, or the first in the queue where none is; and those that come after."""

    shown: Sequence[Job]
    next: Sequence[Job]


def live_jobs() -> LiveJobs:
    """Jobs that wait, run or have a result to put in place, the longest there first."""
    live = Job.objects.filter(Q(state__in=LIVE_STATES) | Q(finish_handled=False))
    jobs = list(live.select_related("created_by").order_by("created_at"))
    waiting = [job for job in jobs if job.state == JobState.QUEUED]
    working = [job for job in jobs if job.state != JobState.QUEUED]
    if working:
        return LiveJobs(shown=working, next=waiting)
    return LiveJobs(shown=waiting[:1], next=waiting[1:])
