"""What administrators decide about reviews, version by version."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

MOST_VOTES_AN_ITEM = 9


class ReviewPolicy(models.Model):
    """One version of the policy; the newest is in force, earlier ones stay."""

    version = models.PositiveIntegerField(unique=True)
    reviewers_an_item = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(MOST_VOTES_AN_ITEM)]
    )
    voters_may_decide = models.BooleanField()
    trainers_may_promote = models.BooleanField(
        help_text="whether a releaser may promote what they trained themselves"
    )
    names_reviewers = models.BooleanField(help_text="whether exports of votes name who voted")
    defect_rate_percent = models.FloatField(
        validators=[MinValueValidator(0.5), MaxValueValidator(50)],
        help_text="a check that draws from a pool has to show that no more are defective",
    )
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-version",)
        verbose_name_plural = "review policies"

    def __str__(self) -> str:
        return f"Review policy, version {self.version}"
