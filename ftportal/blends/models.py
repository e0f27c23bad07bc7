"""Blends: checkpoints between a session's result and the parent that it was trained from."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from ftportal.accounts.sight import SightManager
from ftportal.checkpoints.models import Checkpoint
from ftportal.jobs.models import Job


class Blend(models.Model):
    """weights = (1 - alpha) * parent + alpha * candidate; one checkpoint comes of it."""

    candidate = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="blends")
    alpha = models.FloatField(help_text="0 would be the parent, 1 the candidate")
    result = models.OneToOneField(
        Checkpoint, null=True, blank=True, on_delete=models.PROTECT, related_name="blended_by"
    )
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="blend")
    summary = models.JSONField(
        default=dict, blank=True, help_text="what the engine said when it was done"
    )
    submitter = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("candidate__language_model",)
    objects: SightManager["Blend"] = SightManager()

    class Meta:
        ordering = ("candidate", "alpha")
        constraints = (
            models.UniqueConstraint(fields=("candidate", "alpha"), name="one_blend_an_alpha"),
            models.CheckConstraint(
                condition=Q(alpha__gt=0, alpha__lt=1), name="alpha_between_the_ends"
            ),
        )

    def __str__(self) -> str:
        return blend_name(self.candidate, self.alpha)

    @property
    def parent(self) -> Checkpoint:
        """What it goes back toward."""
        parent = self.candidate.parent
        if parent is None:
            raise ValueError(f"{self.candidate} has no parent to blend with")
        return parent


def percent_words(alpha: float) -> str:
    """An alpha as people write it: 0.5 -> 50 %."""
    return f"{100 * alpha:g} %"


def blend_name(candidate: Checkpoint, alpha: float) -> str:
    """The name of the checkpoint that a blend makes."""
    return f"{candidate.name[:120]}, {percent_words(alpha)} blend"
