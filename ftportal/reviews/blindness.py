"""Who must not be told what, so that a vote is blind, also the second time.

Whoever may still judge a spot-check is blind to it: neither its sides nor which checkpoint is in
it may be known to them. Until its votes are in that is every reviewer but the run's submitter, also
one who has voted or was not asked to: votes can be taken back, and a third reviewer can be needed.

What could give a side away is kept from them for the whole language model, alike for all of its
checkpoints: what was hidden for the one in the check alone would name it.
"""

from dataclasses import dataclass

from django.db.models import Count, Exists, F, OuterRef, QuerySet

from ftportal.accounts.models import Role, User
from ftportal.reviews.models import UNDECIDED, ReviewItem, SpotCheck


def checks_lacking_votes() -> QuerySet[SpotCheck]:
    """The spot-checks whose names nobody may see yet, and those that wait for their answers."""
    lacking = (
        ReviewItem.objects.filter(spot_check=OuterRef("pk"))
        .order_by()
        .annotate(vote_count=Count("votes"))
        .filter(vote_count__lt=F("votes_needed"))
    )
    return SpotCheck.objects.filter(Exists(lacking), state__in=UNDECIDED)


@dataclass(frozen=True, kw_only=True)
class Blindness:
    """What one person must not be told while they may still judge."""

    checks: frozenset[int] = frozenset()
    """Spot-checks that they may still judge."""
    models: frozenset[int] = frozenset()
    """The language models of these."""

    def hides_check(self, spot_check: SpotCheck) -> bool:
        """Whether nothing may tell them which checkpoint is in it."""
        return spot_check.pk in self.checks

    def hides_answers(self, language_model_id: int) -> bool:
        """Whether they may see no answer of a checkpoint of this model by its name.

        Nor what people said of answers, nor which of the model's checkpoints are in open checks.
        """
        return language_model_id in self.models


ALL_SEEING = Blindness()
"""Of who judges nothing, and of the portal itself."""


def blindness_of(viewer: object) -> Blindness:
    """What this person must not be told now; everything may be told to who is not a reviewer."""
    if not isinstance(viewer, User) or not viewer.has_role(Role.REVIEWER):
        return ALL_SEEING
    rows = (
        checks_lacking_votes()
        .exclude(submitter=viewer)
        .order_by()
        .values_list("pk", "candidate__language_model_id")
    )
    pairs = list(rows)
    return Blindness(
        checks=frozenset(check for check, _ in pairs), models=frozenset(model for _, model in pairs)
    )
