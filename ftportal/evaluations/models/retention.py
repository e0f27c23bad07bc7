"""What checkpoints kept of the sessions that they or others learned, example by example."""

from django.db import models

from ftportal.accounts.sight import SightManager
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch
from ftportal.jobs.models import Job


class Retention(models.Model):
    """One checkpoint measured on the examples that one batch set aside.

    It is asked for with the evaluation of a checkpoint and shares its job, or has a job of its own
    where only this was missing.
    """

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="retention")
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="retention")
    dtype = models.CharField(max_length=12, help_text="number format of the weights")
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="retention")
    measured = models.BooleanField(default=False, help_text="its losses are stored")
    problem = models.TextField(blank=True, help_text="why its results could not be used")
    settings = models.JSONField(default=dict, blank=True, help_text="what the engine really used")
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("checkpoint__language_model",)
    objects: SightManager["Retention"] = SightManager()

    class Meta:
        ordering = ("pk",)
        verbose_name_plural = "retention measurements"
        constraints = (
            models.UniqueConstraint(
                fields=("checkpoint", "batch", "dtype"), name="retention_is_measured_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.batch} on {self.checkpoint}"


class ExampleLoss(models.Model):
    """Negative log-likelihood of the decision tokens of one example that was set aside."""

    retention = models.ForeignKey(Retention, on_delete=models.CASCADE, related_name="examples")
    doc_hash = models.CharField(max_length=64)
    nll_nats = models.FloatField()
    tokens = models.PositiveIntegerField(help_text="decision tokens")

    restricted_by = ("retention__checkpoint__language_model",)
    objects: SightManager["ExampleLoss"] = SightManager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("retention", "doc_hash"), name="an_example_once_a_retention"
            ),
        )

    def __str__(self) -> str:
        return f"{self.retention}: {self.nll_nats} nats"
