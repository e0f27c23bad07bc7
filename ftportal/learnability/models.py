"""Learnability: every decision of a batch scored under a checkpoint."""

from pathlib import Path

from django.conf import settings
from django.db import models

from ftportal.accounts.sight import SightManager
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.jobs.models import Job

DTYPES = [("float32", "32-bit, exact"), ("bfloat16", "16-bit, for large models")]


class Learnability(models.Model):
    """One batch scored under one checkpoint; its decisions lie in a file beside the batch."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="learnability")
    checkpoint = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, related_name="learnability"
    )
    dtype = models.CharField(max_length=12, default="float32", choices=DTYPES)
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="learnability")
    measured = models.BooleanField(default=False, help_text="its decisions are there")
    summary = models.JSONField(default=dict, blank=True, help_text="counts and the histogram")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("checkpoint__language_model",)
    objects: SightManager["Learnability"] = SightManager()

    class Meta:
        ordering = ("-created_at",)
        verbose_name_plural = "learnability scores"
        constraints = (
            models.UniqueConstraint(
                fields=("batch", "checkpoint", "dtype"), name="learnability_is_scored_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.batch} under {self.checkpoint}"

    @property
    def path(self) -> Path:
        """Its decisions, the least likely first: see `corpus.scored`."""
        return self.batch.directory / f"decisions-{self.pk}.npy"
