"""The ledger of promotions and rollbacks: append-only, each event carries the hash of the last.

And what was found when the files behind it were read again.
"""

from typing import Any, NoReturn

from django.conf import settings
from django.db import models

from ftportal.accounts.sight import SightManager
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.jobs.models import Job


class PromotionAction(models.TextChoices):
    """What happened to the champion."""

    INITIAL = "initial", "First champion"
    PROMOTE = "promote", "Promoted"
    ROLLBACK = "rollback", "Rolled back"


class LedgerIsAppendOnlyError(Exception):
    """Somebody tried to change or delete an entry of the ledger."""


class LedgerQuerySet(models.QuerySet["PromotionEvent"]):
    """Entries can be read and added, nothing else."""

    def update(self, **kwargs: Any) -> NoReturn:
        """Refused."""
        raise LedgerIsAppendOnlyError("entries of the ledger are never changed")

    def delete(self) -> NoReturn:
        """Refused."""
        raise LedgerIsAppendOnlyError("entries of the ledger are never deleted")


class PromotionEvent(models.Model):
    """One entry of the ledger; entries are never changed or deleted."""

    language_model = models.ForeignKey(LanguageModel, on_delete=models.PROTECT, related_name="+")
    number = models.PositiveIntegerField(help_text="1 is the first entry of the model's ledger")
    action = models.CharField(max_length=10, choices=PromotionAction)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    from_checkpoint = models.ForeignKey(
        Checkpoint, null=True, on_delete=models.PROTECT, related_name="+"
    )
    to_checkpoint = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, related_name="promotion_events"
    )
    reason = models.TextField()
    evidence = models.JSONField(help_text="gates, verdicts and reviews as they stood")
    previous_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64, unique=True)
    seal = models.CharField(
        max_length=64, blank=True, help_text="HMAC of the hash by a key outside the database"
    )
    created_at = models.DateTimeField()

    restricted_by = ("language_model",)
    objects = SightManager.from_queryset(LedgerQuerySet)()

    class Meta:
        ordering = ("-number",)
        constraints = (
            models.UniqueConstraint(
                fields=("language_model", "number"), name="one_ledger_entry_a_number"
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.to_checkpoint}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add the entry; an entry that is there already is never changed."""
        if not self._state.adding:
            raise LedgerIsAppendOnlyError("entries of the ledger are never changed")
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused."""
        raise LedgerIsAppendOnlyError("entries of the ledger are never deleted")


class Reread(models.Model):
    """Files that are read again: a model's champion and anchor, one checkpoint, or all texts that
    measure every model."""

    language_model = models.ForeignKey(
        LanguageModel,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="none for the texts",
    )
    checkpoint = models.ForeignKey(
        Checkpoint,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="where somebody asked for this one alone",
    )
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="reread")
    night = models.DateTimeField(
        null=True, blank=True, help_text="when the night began; none where somebody asked for it"
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(
        null=True, blank=True, help_text="when its result was stored"
    )

    restricted_by = ("language_model",)
    objects: SightManager["Reread"] = SightManager()

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(
                fields=("language_model", "night"), name="models_are_read_once_a_night"
            ),
            models.UniqueConstraint(
                fields=("night",),
                condition=models.Q(language_model=None),
                name="texts_are_read_once_a_night",
            ),
        )

    def __str__(self) -> str:
        return str(self.job)


class RereadThing(models.Model):
    """One thing that was read again, and what is wrong with it."""

    reread = models.ForeignKey(Reread, on_delete=models.CASCADE, related_name="things")
    checkpoint = models.ForeignKey(
        Checkpoint, null=True, blank=True, on_delete=models.PROTECT, related_name="rereads"
    )
    what = models.CharField(max_length=300, help_text="such as: checkpoint Child")
    sha256 = models.CharField(max_length=64)
    file_count = models.PositiveIntegerField()
    size_bytes = models.PositiveBigIntegerField()
    problem = models.TextField(blank=True, help_text="empty where it is unchanged")
    read_at = models.DateTimeField()

    restricted_by = ("reread__language_model",)
    objects: SightManager["RereadThing"] = SightManager()

    class Meta:
        ordering = ("pk",)
        indexes = (models.Index(fields=("sha256", "-read_at"), name="rereads_by_content"),)

    def __str__(self) -> str:
        return f"{self.what}: {self.problem or 'unchanged'}"
