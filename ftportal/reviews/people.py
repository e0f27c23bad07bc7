"""Who is at a spot-check: assigned by name or from the queue, and how far each of them is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from ftportal.accounts.models import Role, User
from ftportal.reviews.blindness import Blindness, blindness_of
from ftportal.reviews.models import ItemLease, SpotCheck, Vote


@dataclass(frozen=True, kw_only=True)
class PersonProgress:
    """How far one reviewer is with a check."""

    person: User
    judged_count: int
    is_assigned: bool
    is_at_it: bool
    """Whether an item is on their page now."""


def progress_by_person(spot_check: SpotCheck) -> list[PersonProgress]:
    """Those who were named for a check, those who judged, and those who are at it, by name.

    Not for who is blind to it: who judged how much tells on which prompts two disagree.
    """
    judged = Counter(
        Vote.objects.filter(item__spot_check=spot_check).values_list("reviewer", flat=True)
    )
    assigned = set(spot_check.assignments.values_list("reviewer", flat=True))
    at_it = set(
        ItemLease.objects.filter(item__spot_check=spot_check, until__gt=timezone.now()).values_list(
            "reviewer", flat=True
        )
    )
    people = User.objects.filter(pk__in={*judged, *assigned, *at_it})
    rows = [
        PersonProgress(
            person=person,
            judged_count=judged[person.pk],
            is_assigned=person.pk in assigned,
            is_at_it=person.pk in at_it,
        )
        for person in people
    ]
    return sorted(rows, key=lambda row: str(row.person).casefold())


def may_assign(spot_check: SpotCheck, user: User) -> bool:
    """Whether this person may name reviewers: an administrator or releaser who does not judge it.

    Who is refused as a reviewer of it has started its run, so whoever names them learns that.
    """
    has_role = user.has_role(Role.ADMINISTRATOR) or user.has_role(Role.RELEASER)
    is_own = spot_check.submitter_id == user.pk
    return has_role and not is_own and not blindness_of(user).hides_check(spot_check)


def reviewers_possible(spot_check: SpotCheck) -> Sequence[User]:
    """Whom a check can be given to: reviewers who can log in and did not start its run."""
    reviewers = User.objects.filter(is_active=True, is_reviewer=True)
    others = [one for one in reviewers if one.pk != spot_check.submitter_id]
    return sorted(others, key=lambda one: str(one).casefold())


def people_context(spot_check: SpotCheck, user: User, blindness: Blindness) -> dict[str, Any]:
    """What the page of an undecided check says of people: nothing to who is blind to it."""
    if blindness.hides_check(spot_check):
        return {}
    people = progress_by_person(spot_check)
    return {
        "people": people,
        "assignable": reviewers_possible(spot_check) if may_assign(spot_check, user) else (),
        "assigned_names": {row.person.username for row in people if row.is_assigned},
    }
