"""What leaves the portal: alias folders and exports; and files found damaged on the way."""

from django.conf import settings
from django.db import models

from ftportal.accounts.sight import SightManager
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.jobs.models import Job


class AliasFolder(models.Model):
    """The folder below aliases/ in which serving finds a model. Its name never changes again."""

    language_model = models.OneToOneField(
        LanguageModel, on_delete=models.CASCADE, related_name="alias_folder"
    )
    name = models.CharField(max_length=100, unique=True)

    restricted_by = ("language_model",)
    objects: SightManager["AliasFolder"] = SightManager()

    def __str__(self) -> str:
        return self.name


class Export(models.Model):
    """One GGUF of a checkpoint. Its result is a checkpoint too, so that it is measured as one."""

    source = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="exports")
    quantisation = models.CharField(max_length=20, help_text="llama.cpp's name: Q8_0, Q4_K_M")
    result = models.OneToOneField(
        Checkpoint, null=True, blank=True, on_delete=models.PROTECT, related_name="exported_by"
    )
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="export")
    file_name = models.CharField(max_length=200, blank=True)
    file_sha256 = models.CharField(max_length=64, blank=True)
    size_bytes = models.PositiveBigIntegerField(default=0)
    summary = models.JSONField(
        default=dict, blank=True, help_text="what the engine said when it was done"
    )
    submitter = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("source__language_model",)
    objects: SightManager["Export"] = SightManager()

    class Meta:
        ordering = ("source", "quantisation")
        constraints = (
            models.UniqueConstraint(
                fields=("source", "quantisation"), name="one_export_a_quantisation"
            ),
        )

    def __str__(self) -> str:
        return f"{self.source.name[:120]}, {self.quantisation}"

    @property
    def is_there(self) -> bool:
        """Whether its file can be downloaded."""
        return self.result is not None and self.result.deleted_at is None


class Damage(models.Model):
    """A file that was not what its manifest says when it was read; gone once all files are whole.

    Its checkpoint's page tells, for the person whose download broke off sees only that.
    """

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.CASCADE, related_name="damages")
    file_name = models.CharField(max_length=300)
    problem = models.CharField(max_length=300)
    seen_at = models.DateTimeField(auto_now=True)

    restricted_by = ("checkpoint__language_model",)
    objects: SightManager["Damage"] = SightManager()

    class Meta:
        ordering = ("file_name",)
        constraints = (
            models.UniqueConstraint(fields=("checkpoint", "file_name"), name="a_file_once_damaged"),
        )

    def __str__(self) -> str:
        return f"{self.file_name}: {self.problem}"
