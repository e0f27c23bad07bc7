"""Prompts that somebody tried by hand. They are kept as evidence, and nothing counts them."""

from django.conf import settings
from django.db import models

from ftportal.accounts.sight import SightManager
from ftportal.checkpoints.models import Checkpoint
from ftportal.jobs.models import Job


class Trial(models.Model):
    """One prompt that a checkpoint and the champion of that moment were asked."""

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="+")
    messages = models.JSONField(help_text='[{"role": "user", "content": "..."}]')
    sha256 = models.CharField(max_length=64, help_text="of the messages")
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("checkpoint__language_model",)
    objects: SightManager["Trial"] = SightManager()

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return str(self.messages[-1]["content"])


class TrialAnswer(models.Model):
    """What one of the two answered; it grows while the engine writes."""

    trial = models.ForeignKey(Trial, on_delete=models.CASCADE, related_name="answers")
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="+")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="trial_answer")
    text = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=20, blank=True)
    token_count = models.PositiveIntegerField(default=0)
    complete = models.BooleanField(default=False)

    restricted_by = ("checkpoint__language_model",)
    objects: SightManager["TrialAnswer"] = SightManager()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.text

    @property
    def is_cut(self) -> bool:
        """Whether it ended at the length limit and not by itself."""
        return self.finish_reason == "length"

    @property
    def cut_at_tokens(self) -> int:
        """Where a cut answer was cut."""
        return self.token_count
