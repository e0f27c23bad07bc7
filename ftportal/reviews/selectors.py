"""What pages and the floor above read about spot-checks. Nothing here tells sides apart."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from ftportal.accounts.models import User
from ftportal.blends.selectors import blend_submitters
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import PromptSet
from ftportal.reviews.blindness import Blindness
from ftportal.reviews.models import (
    Assignment,
    Generation,
    ItemLease,
    ReviewItem,
    SpotCheck,
    SpotCheckState,
    Vote,
)
from ftportal.reviews.sides import candidate_is_left, start_position
from ftportal.runs.models import Run

SECONDS_AN_ITEM = 40
"""What reading two short answers and judging them takes, for the queue's estimate."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a spot-check is."""

    item_count: int
    judged_count: int
    vote_count: int
    third_count: int = 0
    """Items on which two disagree and that wait for a third reviewer."""

    @property
    def has_quorum(self) -> bool:
        """Whether every item has the votes that the plan asks for: now names may be seen."""
        return self.item_count > 0 and self.judged_count == self.item_count

    @property
    def lacking_count(self) -> int:
        """Items that still lack votes."""
        return self.item_count - self.judged_count


def progress_by_pk(spot_checks: Iterable[SpotCheck]) -> dict[int, Progress]:
    """The progress of several spot-checks in one query, by primary key."""
    planned = {spot_check.pk: spot_check.votes_an_item for spot_check in spot_checks}
    items: dict[int, list[tuple[int, int]]] = {pk: [] for pk in planned}
    counts = (
        ReviewItem.objects.filter(spot_check__in=planned)
        .order_by()
        .annotate(vote_count=Count("votes"))
        .values_list("spot_check_id", "vote_count", "votes_needed")
    )
    for pk, count, needed in counts:
        items[pk].append((count, needed))
    return {
        pk: Progress(
            item_count=len(counted),
            judged_count=sum(count >= needed for count, needed in counted),
            vote_count=sum(count for count, _ in counted),
            third_count=sum(planned[pk] <= count < needed for count, needed in counted),
        )
        for pk, counted in items.items()
    }


def progress(spot_check: SpotCheck) -> Progress:
    """How far one spot-check is."""
    return progress_by_pk([spot_check])[spot_check.pk]


def may_be_shown(spot_check: SpotCheck, state: Progress) -> bool:
    """Whether names, votes and findings may be shown: nobody's vote can be swayed any more."""
    return spot_check.is_decided or (spot_check.state == SpotCheckState.OPEN and state.has_quorum)


def names_shown(spot_check: SpotCheck, state: Progress, blindness: Blindness) -> bool:
    """Whether this person may know who was compared with whom.

    Of a closed check only where they are blind to nothing: the same candidate may be in the check
    that took its place.
    """
    if spot_check.is_closed:
        return not blindness.hides_answers(spot_check.candidate.language_model_id)
    return may_be_shown(spot_check, state)


def spot_check_list(*, state: str = "") -> QuerySet[SpotCheck]:
    """All spot-checks for the list page, of one state if given."""
    spot_checks = SpotCheck.objects.select_related(
        "candidate", "baseline", "prompt_set", "decided_by"
    )
    return spot_checks.filter(state=state) if state in SpotCheckState.values else spot_checks


def votable_items(reviewer: User) -> QuerySet[ReviewItem]:
    """The items that lack votes and that this reviewer has not judged, held by others or not.

    Reviewers who were named for a check give the votes of its plan; the third vote on a
    disagreement may be anybody's.
    """
    assigned = Assignment.objects.filter(spot_check=OuterRef("spot_check"))
    return (
        ReviewItem.objects.filter(spot_check__state=SpotCheckState.OPEN)
        .exclude(spot_check__submitter=reviewer)
        .exclude(pk__in=Vote.objects.filter(reviewer=reviewer).values("item"))
        .annotate(vote_count=Count("votes", distinct=True))
        .filter(vote_count__lt=F("votes_needed"))
        .filter(
            ~Exists(assigned)
            | Exists(assigned.filter(reviewer=reviewer))
            | Q(vote_count__gte=F("spot_check__votes_an_item"))
        )
    )


def open_items(reviewer: User) -> QuerySet[ReviewItem]:
    """The items that this reviewer may judge now: others neither gave nor hold what they lack."""
    held = Q(leases__until__gt=timezone.now()) & ~Q(leases__reviewer=reviewer)
    given, in_hands = (
        Count("votes", distinct=True),
        Count("leases", filter=held, distinct=True),
    )
    return (
        votable_items(reviewer)
        .annotate(taken_count=given + in_hands)
        .filter(taken_count__lt=F("votes_needed"))
    )


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A spot-check that waits for one person: items to judge, or a decision when there are none."""

    spot_check: SpotCheck
    item_count: int

    @property
    def is_decision(self) -> bool:
        """Whether all votes are in and only the decision is missing."""
        return self.item_count == 0

    @property
    def minutes(self) -> int:
        """About how long the items will take, at least one minute."""
        return max(1, round(self.item_count * SECONDS_AN_ITEM / 60))


def waiting_for(user: User) -> list[Waiting]:
    """What waits for a reviewer, oldest first, decisions before votes.

    For a releaser the decisions that nobody who voted may take; nothing for others.
    """
    counts: dict[int, int] = {}
    if user.has_role("reviewer"):
        for pk in open_items(user).order_by().values_list("spot_check_id", flat=True):
            counts[pk] = counts.get(pk, 0) + 1
    elif not user.has_role("releaser"):
        return []
    open_checks = list(
        SpotCheck.objects.filter(state=SpotCheckState.OPEN)
        .exclude(submitter=user)
        .select_related("prompt_set", "candidate__language_model", "candidate", "baseline")
        .order_by("created_at")
    )
    states = progress_by_pk(open_checks)
    decisions = [
        Waiting(spot_check=one, item_count=0)
        for one in open_checks
        if states[one.pk].has_quorum and may_decide(one, user)
    ]
    votes = [
        Waiting(spot_check=one, item_count=counts[one.pk])
        for one in open_checks
        if one.pk in counts
    ]
    return decisions + votes


def may_decide(spot_check: SpotCheck, user: User) -> bool:
    """Whether this person may approve or reject it, once its votes are in.

    Reviewers do. Where those who judged it do not, a releaser may too: there might be nobody else.
    """
    if spot_check.submitter_id == user.pk:
        return False
    if spot_check.voters_may_decide:
        return user.has_role("reviewer")
    has_role = user.has_role("reviewer") or user.has_role("releaser")
    return has_role and not has_voted(spot_check, user)


def has_voted(spot_check: SpotCheck, user: User) -> bool:
    """Whether a vote on it is this person's."""
    return Vote.objects.filter(item__spot_check=spot_check, reviewer=user).exists()


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """One item as one reviewer sees it."""

    item: ReviewItem
    left: Generation
    right: Generation

    @property
    def number(self) -> int:
        """The item's place in its spot-check, from 1: the same for all reviewers."""
        return self.item.position + 1


def ballot_next(spot_check: SpotCheck, reviewer: User, but: Collection[int] = ()) -> Ballot | None:
    """The next item for this reviewer, `but` those that they skipped; None where none is left."""
    items = list(
        open_items(reviewer)
        .filter(spot_check=spot_check)
        .exclude(pk__in=but)
        .select_related("prompt")
        .order_by("position")
    )
    if not items:
        return None
    start = start_position(spot_check, reviewer, spot_check.items.count())
    held = held_item(spot_check, reviewer)
    item = next((one for one in items if one.pk == held), None) or next(
        (one for one in items if one.position >= start), items[0]
    )
    return ballot_of(item, reviewer)


def held_item(spot_check: SpotCheck, reviewer: User) -> int | None:
    """The item that this reviewer has before them, so that a reload shows the same; its key."""
    leases = ItemLease.objects.filter(
        item__spot_check=spot_check, reviewer=reviewer, until__gt=timezone.now()
    )
    return leases.values_list("item_id", flat=True).first()


def ballot_of(item: ReviewItem, reviewer: User) -> Ballot:
    """An item with its answers on this reviewer's sides."""
    check = item.spot_check
    answers = {
        answer.generation_set_id: answer
        for answer in Generation.objects.filter(
            Q(generation_set=check.candidate_answers_id)
            | Q(generation_set=check.baseline_answers_id),
            prompt=item.prompt_id,
        ).select_related("generation_set")
    }
    candidate = answers[check.candidate_answers_id]
    baseline = answers[check.baseline_answers_id]
    left, right = (
        (candidate, baseline) if candidate_is_left(item, reviewer) else (baseline, candidate)
    )
    return Ballot(item=item, left=left, right=right)


def vote_to_undo(
    spot_check: SpotCheck, reviewer: User, item: ReviewItem | None = None
) -> Vote | None:
    """This reviewer's vote on an item, or the last one, while it can still be taken back."""
    if spot_check.state != SpotCheckState.OPEN:
        return None
    votes = Vote.objects.filter(item__spot_check=spot_check, reviewer=reviewer)
    if item is not None:
        votes = votes.filter(item=item)
    return votes.select_related("item").order_by("-pk").first()


def default_prompt_set() -> PromptSet | None:
    """The prompt set that spot-checks use by themselves: the oldest with prompts; None without."""
    return (
        PromptSet.objects.filter(prompts__isnull=False)
        .distinct()
        .order_by("created_at", "pk")
        .first()
    )


def spot_checks_of(checkpoint: Checkpoint) -> QuerySet[SpotCheck]:
    """A candidate's spot-checks, newest first."""
    return SpotCheck.objects.filter(candidate=checkpoint).select_related(
        "baseline", "prompt_set", "decided_by"
    )


def checkpoint_submitters(checkpoints: Collection[Checkpoint]) -> dict[int, User | None]:
    """Checkpoint -> who started the run, or asked for the blend, that made it."""
    runs = Run.objects.filter(output__in=checkpoints).select_related("submitter")
    return blend_submitters(checkpoints) | {
        run.output_id: run.submitter for run in runs if run.output_id
    }


def checkpoint_submitter(checkpoint: Checkpoint) -> User | None:
    """Who started the run, or asked for the blend, that made the checkpoint; None where neither."""
    return checkpoint_submitters([checkpoint]).get(checkpoint.pk)
