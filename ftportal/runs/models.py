"""Training runs, what went into them and what they measured while they ran."""

from django.conf import settings
from django.db import models

from engine.process import DIVERGED
from ftportal.accounts.sight import SightManager
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import Batch, HeldOutSet
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import can_start_again
from ftportal.mixtures.models import Mixture
from ftportal.pages.describing import Described


class Run(Described):
    """One training session: parent checkpoint, batches, recipe in; at most one checkpoint out."""

    name = models.CharField(max_length=120, unique=True)
    parent = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="runs")
    output = models.OneToOneField(
        Checkpoint, null=True, blank=True, on_delete=models.PROTECT, related_name="made_by"
    )
    same_as = models.ForeignKey(
        Checkpoint,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="made_again_by",
        help_text="where the run ended in weights that were there already, byte for byte",
    )
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="run")
    probe_set = models.ForeignKey(
        HeldOutSet,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="text whose perplexity is watched while the run trains",
    )
    from_mixture = models.ForeignKey(
        Mixture,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="runs",
        help_text="the named mixture whose shares and seed it follows",
    )
    recipe = models.JSONField(help_text="method, rate, epochs, seed, ...: training.config's fields")
    forecast = models.JSONField(
        default=dict, blank=True, help_text="displacement and seconds, before the run"
    )
    summary = models.JSONField(
        default=dict, blank=True, help_text="what the engine said when it was done"
    )
    warnings = models.JSONField(
        default=list, blank=True, help_text='[{"where", "message"}] from the engine'
    )
    submitter = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("parent__language_model",)
    objects: SightManager["Run"] = SightManager()

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.name

    @property
    def diverged(self) -> bool:
        """Whether the engine stopped it because its loss was not a number any more."""
        return self.job.state == JobState.FAILED and self.job.exit_code == DIVERGED

    @property
    def state(self) -> str:
        """The word of its badge."""
        return "diverged" if self.diverged else str(self.job.state)

    @property
    def can_resume(self) -> bool:
        """Whether going on may end otherwise: it was stopped, or failed for outside reasons."""
        return can_start_again(self.job)


class RunBatch(models.Model):
    """A batch in a run's mixture."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="mixture")
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="uses")
    weight = models.FloatField(help_text="share of the examples, before normalising")

    restricted_by = ("run__parent__language_model",)
    objects: SightManager["RunBatch"] = SightManager()

    class Meta:
        ordering = ("pk",)
        constraints = (models.UniqueConstraint(fields=("run", "batch"), name="a_batch_once_a_run"),)

    def __str__(self) -> str:
        return f"{self.batch} in {self.run}"


class Metric(models.Model):
    """One measured value at one step. A later attempt that repeats a step replaces its value."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metrics")
    name = models.CharField(max_length=120)
    step = models.PositiveIntegerField()
    value = models.FloatField(null=True, blank=True)

    restricted_by = ("run__parent__language_model",)
    objects: SightManager["Metric"] = SightManager()

    class Meta:
        ordering = ("step",)
        constraints = (
            models.UniqueConstraint(fields=("run", "name", "step"), name="one_value_a_step"),
        )

    def __str__(self) -> str:
        return f"{self.name} at step {self.step}"
