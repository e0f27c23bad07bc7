"""Training runs, what went into them and what they measured while they ran."""

from django.conf import settings
from django.db import models
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast

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
    method = models.GeneratedField(
        expression=KeyTextTransform("name", KeyTransform("method", "recipe")),
        output_field=models.CharField(max_length=40, null=True),
        db_persist=True,
        help_text="of the recipe, taken out by the database to sort and filter by",
    )
    learning_rate = models.GeneratedField(
        expression=Cast(KeyTextTransform("learning_rate", "recipe"), models.FloatField()),
        output_field=models.FloatField(null=True),
        db_persist=True,
        help_text="of the recipe, as `method` is",
    )
    loss_nats = models.FloatField(
        null=True, blank=True, help_text="as `metrics.loss_now`, kept as points arrive"
    )
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
        # The runs list sorts by these; the key stands behind each, as the list's second order.
        indexes = (
            models.Index(fields=("created_at", "id")),
            models.Index(fields=("method", "id")),
            models.Index(fields=("learning_rate", "id")),
            models.Index(fields=("loss_nats", "id")),
            # Whether somebody tried again: the navigation of every page asks for each failed run.
            models.Index(fields=("submitter", "parent", "created_at")),
        )

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


class Curve(models.Model):
    """One metric of a run: what lists say of it, and its newest points. `curves` writes it."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="curves", db_index=False)
    name = models.CharField(max_length=120)
    count = models.PositiveBigIntegerField(default=0, help_text="points, those without value too")
    known_count = models.PositiveBigIntegerField(default=0, help_text="points with a value")
    last_value = models.FloatField(
        null=True, blank=True, help_text="at the last step; missing where it was not finite"
    )
    last_known = models.FloatField(null=True, blank=True, help_text="the last that was finite")
    mean = models.FloatField(null=True, blank=True, help_text="of the last MEAN_STEPS known values")
    first_half_mean = models.FloatField(
        null=True, blank=True, help_text="of the first MEAN_STEPS, or half of fewer than twice that"
    )
    last_half_mean = models.FloatField(
        null=True, blank=True, help_text="of the last MEAN_STEPS, or half of fewer than twice that"
    )
    packed_step = models.BigIntegerField(
        null=True, blank=True, help_text="the last step in a chunk; later ones are in `tail`"
    )
    packed_recent = models.JSONField(
        default=list, help_text="the last known values in chunks, which means in `tail` go back to"
    )
    tail = models.BinaryField(help_text="points that have not filled a chunk: packing.pack")

    restricted_by = ("run__parent__language_model",)
    objects: SightManager["Curve"] = SightManager()

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("run", "name"), name="one_curve_a_name"),)

    def __str__(self) -> str:
        return f"{self.name} of {self.run}"


class CurveChunk(models.Model):
    """Points of a curve that follow one another, packed: see `packing`."""

    curve = models.ForeignKey(
        Curve, on_delete=models.CASCADE, related_name="chunks", db_index=False
    )
    first_step = models.BigIntegerField()
    # Charts of long curves read the blocks alone: they stand before the data, on an earlier page.
    blocks = models.BinaryField(help_text="an array of packing.BLOCK_TYPE")
    data = models.BinaryField(help_text="packing.pack")

    restricted_by = ("curve__run__parent__language_model",)
    objects: SightManager["CurveChunk"] = SightManager()

    class Meta:
        ordering = ("first_step",)
        constraints = (
            models.UniqueConstraint(fields=("curve", "first_step"), name="one_chunk_a_first_step"),
        )

    def __str__(self) -> str:
        return f"{self.curve} from step {self.first_step}"
