"""The review policy, which administrators set."""

from django.db import IntegrityError, transaction

from ftportal.accounts.models import User
from ftportal.audit.services import difference, record
from ftportal.reviews.models import ReviewPolicy
from ftportal.reviews.policy import Policy, policy_in_force
from ftportal.reviews.services.allowed import ReviewRefusedError

FIELDS = (
    "reviewers_an_item",
    "voters_may_decide",
    "trainers_may_promote",
    "names_reviewers",
    "defect_rate_percent",
)


def review_policy_set(
    *,
    actor: User,
    reviewers_an_item: int,
    voters_may_decide: bool,
    trainers_may_promote: bool,
    names_reviewers: bool,
    defect_rate_percent: float,
) -> ReviewPolicy:
    """Put a new version of the policy in force; earlier ones stay. Raises ReviewRefusedError.

    Checks that are open keep the plan that they were opened with.
    """
    if not actor.has_role("administrator"):
        raise ReviewRefusedError("The policy needs the role administrator.", "Ask one.")
    was = policy_in_force()
    made = ReviewPolicy(
        version=was.version + 1,
        reviewers_an_item=reviewers_an_item,
        voters_may_decide=voters_may_decide,
        trainers_may_promote=trainers_may_promote,
        names_reviewers=names_reviewers,
        defect_rate_percent=defect_rate_percent,
        made_by=actor,
    )
    made.clean_fields()
    try:
        with transaction.atomic():
            made.save(force_insert=True)
            before, after = difference(_fields(was), _fields(made))
            record("policy.changed", made, before=before, after=after, actor=actor)
    except IntegrityError as error:
        raise ReviewRefusedError(
            "Another administrator changed the policy at the same moment.", "Look at it again."
        ) from error
    return made


def _fields(policy: Policy | ReviewPolicy) -> dict[str, object]:
    return {name: getattr(policy, name) for name in FIELDS}
