"""What waits for one person: a few things that nobody else will do, each with its page."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from ftportal.accounts.models import Role, User
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch, BatchState
from ftportal.jobs.models import JobState
from ftportal.promotions.selectors import (
    anchors_and_champions,
    candidates_of,
    place_of,
    with_files,
)
from ftportal.reviews import selectors as reviews
from ftportal.reviews.models import SpotCheck, SpotCheckState
from ftportal.runs.models import Run

TROUBLE_DAYS = 7
"""A failed run or refused batch stops waiting after so many days, or when it was tried again."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One thing to do. `place` is the navigation's entry that counts it."""

    place: str
    icon: str
    title: str
    detail: str
    url: str
    since: datetime


def waiting_of(request: HttpRequest) -> list[Waiting]:
    """What waits for who asks, found once a request: the page and its navigation both show it."""
    waiting: list[Waiting] | None = vars(request).get("_waiting")
    if waiting is None:
        waiting = waiting_for(request.user) if isinstance(request.user, User) else []
        vars(request)["_waiting"] = waiting
    return waiting


def waiting_for(user: User) -> list[Waiting]:
    """Everything that waits for this person, in the order of the pipeline."""
    sources: tuple[tuple[Collection[Role], Callable[[User], list[Waiting]]], ...] = (
        ((Role.TRAINER,), _batches),
        ((Role.TRAINER,), _failed_runs),
        ((Role.REVIEWER, Role.RELEASER), _reviews),
        ((Role.RELEASER,), _promotions),
    )
    return [
        one
        for roles, source in sources
        if any(user.has_role(role) for role in roles)
        for one in source(user)
    ]


def waiting_for_others(user: User) -> list[Waiting]:
    """What holds sessions up that this person cannot do, with whose turn it is."""
    sources: tuple[tuple[Role, Callable[[User], list[Waiting]]], ...] = (
        (Role.REVIEWER, _open_reviews),
        (Role.RELEASER, _promotions),
    )
    return [
        replace(one, detail=f"{one.detail}; needs a {role.value}")
        for role, source in sources
        if not user.has_role(role)
        for one in source(user)
    ]


def _batches(user: User) -> list[Waiting]:
    """Uploads of this person that ask something, or were refused and not uploaded again since."""
    again = Batch.objects.filter(
        uploaded_by=user, filename=OuterRef("filename"), created_at__gt=OuterRef("created_at")
    )
    recent = timezone.now() - timedelta(days=TROUBLE_DAYS)
    refused = Q(state=BatchState.REFUSED, created_at__gte=recent) & ~Exists(again)
    batches = Batch.objects.filter(Q(state=BatchState.ASKING) | refused, uploaded_by=user)
    return [_batch(batch) for batch in batches]


def _batch(batch: Batch) -> Waiting:
    title, detail = f"Mend {batch}", _problems(batch.problem_count)
    if batch.state == BatchState.ASKING:
        title, detail = f"Say what becomes of {batch}", "something in its file needs an answer"
    return Waiting(
        place="batches",
        icon="batch",
        title=title,
        detail=detail,
        url=reverse("datasets:batch", args=[batch.pk]),
        since=batch.created_at,
    )


def _problems(count: int | None) -> str:
    if not count:
        return "the file was refused"
    return "the file was refused: " + ("1 problem" if count == 1 else f"{count} problems")


def _failed_runs(user: User) -> list[Waiting]:
    """Failed runs of this person after which they started no other from the same parent."""
    again = Run.objects.filter(
        submitter=user, parent=OuterRef("parent"), created_at__gt=OuterRef("created_at")
    )
    failed = (
        Run.objects.filter(
            submitter=user,
            job__state=JobState.FAILED,
            created_at__gte=timezone.now() - timedelta(days=TROUBLE_DAYS),
        )
        .exclude(Exists(again))
        .select_related("job")
    )
    return [
        Waiting(
            place="runs",
            icon="run",
            title=f"See why {run.name} failed",
            detail=run.job.error_message or "it ended without a message",
            url=reverse("runs:run", args=[run.pk]),
            since=run.job.finished_at or run.created_at,
        )
        for run in failed
    ]


def _reviews(user: User) -> list[Waiting]:
    """Spot-checks with items that this person has not judged, or that lack only a decision."""
    waiting = []
    for one in reviews.waiting_for(user):
        check = one.spot_check
        if one.is_decision:
            title = f"Decide on {check.candidate}"
            detail = "all votes are in"
            url = reverse("reviews:spot_check", args=[check.pk])
        else:
            count = "1 prompt" if one.item_count == 1 else f"{one.item_count} prompts"
            title = f"Judge {count}"
            detail = f"{check.blind_title}, about {one.minutes} min"
            url = reverse("reviews:vote", args=[check.pk])
        waiting.append(
            Waiting(
                place="reviews",
                icon="review",
                title=title,
                detail=detail,
                url=url,
                since=check.created_at,
            )
        )
    return waiting


def _open_reviews(user: User) -> list[Waiting]:
    """Spot-checks that reviewers are at, by the candidate's name: for people who do not vote.

    Without those that wait for this person's own decision.
    """
    own = {one.spot_check.pk for one in reviews.waiting_for(user)}
    checks = (
        SpotCheck.objects.filter(state=SpotCheckState.OPEN)
        .exclude(pk__in=own)
        .select_related("candidate")
    )
    progress = reviews.progress_by_pk(checks)
    return [
        Waiting(
            place="reviews",
            icon="review",
            title=f"Review {check.candidate}",
            detail="all votes are in, the decision is missing"
            if progress[check.pk].has_quorum
            else f"{progress[check.pk].judged_count} of {progress[check.pk].item_count} prompts "
            "judged",
            url=reverse("reviews:spot_check", args=[check.pk]),
            since=check.created_at,
        )
        for check in checks
    ]


def _promotions(user: User) -> list[Waiting]:
    """Candidates that only a releaser's word keeps from the champion's place.

    Only those are looked at that were approved against a champion of now.
    """
    _, champions = anchors_and_champions()
    approved = SpotCheck.objects.filter(
        candidate=OuterRef("pk"),
        baseline__in=champions.values(),
        state=SpotCheckState.APPROVED,
    )
    checkpoints = (
        Checkpoint.objects.filter(Exists(approved), deleted_at__isnull=True)
        .exclude(pk__in=champions.values())
        .select_related("language_model")
    )
    waiting = []
    for candidate in with_files(candidates_of(checkpoints, user), user):
        if candidate.own_word and user.has_role(Role.RELEASER):
            continue
        if candidate.is_ready:
            title, detail = "Promote", "measured, reviewed, every gate passed"
        elif candidate.needs_acceptance:
            title, detail = "Decide on", "reviewed; its verdict is inconclusive"
        else:
            continue
        waiting.append(
            Waiting(
                place="promotions",
                icon="promotion",
                title=f"{title} {candidate.checkpoint}",
                detail=detail,
                url=place_of(candidate.checkpoint),
                since=candidate.checkpoint.created_at,
            )
        )
    return waiting
