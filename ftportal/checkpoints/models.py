"""Language models, the checkpoints of their weights, and the aliases that point at them."""

from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import Q

from ftportal.accounts.sight import SightManager
from ftportal.jobs.models import Job
from ftportal.pages.describing import Described

ANSWER_TOKENS_MAX = 32_768
"""No answer is asked for that is longer."""
FETCHED_KEPT = timedelta(days=7)
"""How long the files of a fetch that did not end well wait for somebody to go on with it."""


class LanguageModel(models.Model):
    """What is being taught. Its pre-trained checkpoint is the rollback anchor."""

    name = models.CharField(max_length=120, unique=True)
    source = models.CharField(
        max_length=300, help_text="hub id and revision, or where it came from"
    )
    note = models.CharField(max_length=300, blank=True, help_text="for example: de-quantised")
    licence = models.CharField(max_length=80, blank=True)
    parameter_count = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    template_arguments = models.JSONField(
        default=dict, blank=True, help_text="what its chat template is given: enable_thinking, ..."
    )
    answer_tokens = models.PositiveIntegerField(
        null=True, blank=True, help_text="the longest answer where a prompt set says less"
    )
    is_restricted = models.BooleanField(
        default=False, help_text="only the people named, and administrators, see anything of it"
    )
    people = models.ManyToManyField(
        settings.AUTH_USER_MODEL, blank=True, related_name="+", help_text="who sees it all the same"
    )

    restricted_by = ("pk",)
    objects: SightManager["LanguageModel"] = SightManager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def pretrained(self) -> "Checkpoint":
        """The anchor: the checkpoint without a parent."""
        return self.checkpoints.get(parent__isnull=True)


class WithoutExports(SightManager["Checkpoint"]):
    """What can be trained from, judged by people and promoted."""

    def get_queryset(self) -> models.QuerySet["Checkpoint"]:
        """Exports are left out: they are measured like checkpoints, and nothing else."""
        return super().get_queryset().filter(is_export=False)


class Checkpoint(Described):
    """One state of the weights: a Hugging Face directory of safetensors, never changed again.

    An export is one too: its parent's weights quantised for serving, as one GGUF, so that it can be
    measured and judged like any other. Only who asks `with_exports` sees it.
    """

    language_model = models.ForeignKey(
        LanguageModel, on_delete=models.PROTECT, related_name="checkpoints"
    )
    name = models.CharField(max_length=160)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )
    depth = models.PositiveIntegerField(default=0, help_text="training sessions since the anchor")
    path = models.CharField(max_length=500, help_text="absolute, or relative to FTPORTAL_DATA")
    manifest_hash = models.CharField(max_length=64, unique=True)
    size_bytes = models.PositiveBigIntegerField()
    displacement_pretrained = models.FloatField(
        null=True, blank=True, help_text="L2 norm of weights minus the anchor's weights"
    )
    is_export = models.BooleanField(
        default=False, help_text="its parent quantised for serving: measured, never promoted"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True, blank=True, help_text="when its files went")

    restricted_by = ("language_model",)
    objects = WithoutExports()
    with_exports: SightManager["Checkpoint"] = SightManager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("language_model",),
                condition=Q(parent__isnull=True),
                name="one_pretrained_checkpoint_a_model",
            ),
            models.UniqueConstraint(
                fields=("language_model", "name"), name="checkpoint_names_differ_within_a_model"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_pretrained(self) -> bool:
        """Whether it is the anchor, which is never deleted."""
        return self.parent_id is None

    @property
    def directory(self) -> Path:
        """Where the weights lie."""
        return Path(settings.FTPORTAL_DATA) / self.path


class Intake(models.Model):
    """A model that a worker looks at before it is taught, and fetches where it is on the hub."""

    name = models.CharField(max_length=120, help_text="what the model is or will be called")
    hub_id = models.CharField(max_length=200, blank=True, help_text="empty for local files")
    revision = models.CharField(max_length=200, blank=True, help_text="as it was asked for")
    note = models.CharField(max_length=300, blank=True)
    licence = models.CharField(max_length=80, blank=True)
    language_model = models.OneToOneField(
        LanguageModel, null=True, blank=True, on_delete=models.CASCADE, related_name="intake"
    )
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="intake")
    findings = models.JSONField(default=dict, blank=True, help_text="what the engine said")
    refusal = models.CharField(
        max_length=500, blank=True, help_text="why what was fetched could not be registered"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("language_model",)
    objects: SightManager["Intake"] = SightManager()

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.name

    @property
    def source(self) -> str:
        """Where it comes from: the hub id with the commit that was fetched."""
        commit = self.findings.get("commit") or self.revision
        return f"{self.hub_id}@{commit}" if commit else self.hub_id

    @property
    def is_taught_in_part(self) -> bool:
        """Whether its files hold what text does not reach."""
        return bool(self.findings.get("tensors_carried"))


class Alias(models.Model):
    """A name that points at a checkpoint, such as champion: a projection of the ledger."""

    language_model = models.ForeignKey(
        LanguageModel, on_delete=models.CASCADE, related_name="aliases"
    )
    name = models.CharField(max_length=40, default="champion")
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="aliases")
    updated_at = models.DateTimeField(auto_now=True)

    restricted_by = ("language_model",)
    objects: SightManager["Alias"] = SightManager()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("language_model", "name"), name="one_alias_a_name"),
        )

    def __str__(self) -> str:
        return self.name
