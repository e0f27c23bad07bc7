"""Mixtures: which batches are learnt together, in what shares and in what order."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from ftportal.accounts.sight import SightManager
from ftportal.checkpoints.models import LanguageModel
from ftportal.datasets.models import Batch

_SHARE = (MinValueValidator(0.0), MaxValueValidator(0.95))


class Mixture(models.Model):
    """One version of a named mixture; it never changes once it is there."""

    name = models.CharField(max_length=120)
    version = models.PositiveIntegerField(default=1)
    language_model = models.ForeignKey(
        LanguageModel, on_delete=models.PROTECT, related_name="mixtures"
    )
    general_share = models.FloatField(
        default=0.0, validators=_SHARE, help_text="of the examples, from general batches: 0 to 0.95"
    )
    replay_share = models.FloatField(
        default=0.0, validators=_SHARE, help_text="of the examples, learnt before: 0 to 0.95"
    )
    order_seed = models.PositiveIntegerField(
        default=0, help_text="draws the order of the examples: the run's seed"
    )
    note = models.CharField(max_length=300, blank=True, help_text="what this version is for")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("language_model",)
    objects: SightManager["Mixture"] = SightManager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(fields=("name", "version"), name="a_version_once_a_mixture"),
            models.CheckConstraint(
                condition=Q(general_share__lt=1 - F("replay_share")), name="something_new_is_learnt"
            ),
        )

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}" if self.version > 1 else self.name


class PartRole(models.TextChoices):
    """What a batch is in a mixture for."""

    NEW = "new", "To learn"
    GENERAL = "general", "General"
    REPLAY = "replay", "Replay"


class MixturePart(models.Model):
    """One batch of a mixture."""

    mixture = models.ForeignKey(Mixture, on_delete=models.CASCADE, related_name="parts")
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="mixture_parts")
    role = models.CharField(max_length=8, choices=PartRole, default=PartRole.NEW)
    weight = models.FloatField(default=1.0, help_text="against the others of its role")

    restricted_by = ("mixture__language_model",)
    objects: SightManager["MixturePart"] = SightManager()

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=("mixture", "batch"), name="a_batch_once_a_mixture"),
            models.CheckConstraint(condition=Q(weight__gt=0), name="every_part_weighs_something"),
        )

    def __str__(self) -> str:
        return f"{self.batch} in the mixture {self.mixture}"
