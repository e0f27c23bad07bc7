"""Who judges what: reviewers named for a check, and items that are in somebody's hands."""

from django.conf import settings
from django.db import models

from ftportal.accounts.sight import SightManager
from ftportal.reviews.models.checks import ReviewItem, SpotCheck


class Assignment(models.Model):
    """A reviewer who was named for a spot-check; a check without any is open to all reviewers."""

    spot_check = models.ForeignKey(SpotCheck, on_delete=models.CASCADE, related_name="assignments")
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    assigned_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("spot_check__candidate__language_model",)
    objects: SightManager["Assignment"] = SightManager()

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(
                fields=("spot_check", "reviewer"), name="a_reviewer_assigned_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.reviewer} for {self.spot_check}"


class ItemLease(models.Model):
    """An item that one reviewer has before them, so that nobody else judges it for nothing."""

    item = models.ForeignKey(ReviewItem, on_delete=models.CASCADE, related_name="leases")
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    until = models.DateTimeField()

    restricted_by = ("item__spot_check__candidate__language_model",)
    objects: SightManager["ItemLease"] = SightManager()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("item", "reviewer"), name="one_lease_a_reviewer"),
        )

    def __str__(self) -> str:
        return f"{self.item} with {self.reviewer}"
