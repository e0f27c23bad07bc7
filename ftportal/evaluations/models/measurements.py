"""Measurements of checkpoints by suites: scores, items and documents."""

from typing import Any

from django.db import models

from ftportal.accounts.sight import SightManager
from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import HeldOutSet
from ftportal.evaluations.models.suites import Suite
from ftportal.jobs.models import Job


class FirstMeasurements(SightManager["Evaluation"]):
    """Whole measurements, without those that were repeated to see the noise."""

    def get_queryset(self) -> models.QuerySet["Evaluation"]:
        """Repeats and what was stopped early are left out: nothing is compared with or reused from
        them."""
        return super().get_queryset().filter(repeat=0, adaptive_key="")


class Evaluation(models.Model):
    """One measurement of one checkpoint by one suite; never done twice for the same weights, but
    where somebody asks how far two measurements of the same differ."""

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="evaluations")
    suite = models.ForeignKey(Suite, on_delete=models.PROTECT, related_name="evaluations")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="evaluation")
    repeat = models.PositiveSmallIntegerField(
        default=0, help_text="0 is the measurement that counts; higher ones show the noise"
    )
    noise = models.JSONField(
        default=dict, blank=True, help_text="a repeat against the first: what differs by chance"
    )
    against = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="adaptive mode: the whole measurement whose answers it is held against",
    )
    adaptive = models.JSONField(
        default=dict, blank=True, help_text="how it may stop early; empty where all is measured"
    )
    adaptive_key = models.CharField(
        max_length=64, blank=True, default="", help_text="hash of against and adaptive"
    )
    measured = models.BooleanField(default=False, help_text="scores and samples are stored")
    judged = models.BooleanField(
        default=False, help_text="its verdicts against the baselines of its time are reached"
    )
    problem = models.TextField(
        blank=True, help_text="why its results could not be used, and a cure"
    )
    settings = models.JSONField(default=dict, blank=True, help_text="what the engine really used")
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("checkpoint__language_model",)
    objects = FirstMeasurements()
    with_repeats: SightManager["Evaluation"] = SightManager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("checkpoint", "suite", "repeat", "adaptive_key"),
                name="nothing_is_measured_twice",
            ),
        )

    def __str__(self) -> str:
        again = f", measurement {self.repeat + 1}" if self.repeat else ""
        early = ", stopped early" if self.adaptive_key else ""
        return f"{self.checkpoint} by {self.suite}{again}{early}"

    @property
    def stops(self) -> list[dict[str, Any]]:
        """Where each group of benchmarks was stopped early; empty where all was measured."""
        return (self.settings.get("adaptive") or {}).get("groups", [])

    @property
    def items_asked(self) -> int:
        """Benchmark items on which it was stopped early; 0 where all was measured."""
        return sum(one["items_used"] for one in self.stops)

    @property
    def items_in_all(self) -> int:
        """How many of them there are."""
        return sum(one["items"] for one in self.stops)


class Score(models.Model):
    """A benchmark's or held-out set's number for one checkpoint."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="scores")
    benchmark = models.CharField(max_length=120)
    metric = models.CharField(max_length=60)
    value = models.FloatField(null=True)
    stderr = models.FloatField(null=True)
    n = models.PositiveIntegerField()
    higher_is_better = models.BooleanField()
    unit = models.CharField(max_length=40, blank=True)

    restricted_by = ("evaluation__checkpoint__language_model",)
    objects: SightManager["Score"] = SightManager()

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(
                fields=("evaluation", "benchmark", "metric"), name="a_score_once_an_evaluation"
            ),
        )

    def __str__(self) -> str:
        return f"{self.benchmark} {self.metric}"


class Sample(models.Model):
    """One benchmark item's outcome; joined to its partner by hash, never by position."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="samples")
    benchmark = models.CharField(max_length=120)
    doc_hash = models.CharField(max_length=64)
    prompt_hash = models.CharField(max_length=64)
    target_hash = models.CharField(max_length=64)
    correct = models.BooleanField()
    margin_nats = models.FloatField(null=True)
    cluster = models.CharField(max_length=120, blank=True)
    question = models.TextField()
    target = models.TextField()
    answer = models.TextField()

    restricted_by = ("evaluation__checkpoint__language_model",)
    objects: SightManager["Sample"] = SightManager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("evaluation", "benchmark", "doc_hash"), name="an_item_once_an_evaluation"
            ),
        )

    def __str__(self) -> str:
        return self.question


class DocumentLoss(models.Model):
    """Negative log-likelihood of one held-out document."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="documents")
    held_out_set = models.ForeignKey(HeldOutSet, on_delete=models.PROTECT)
    doc_hash = models.CharField(max_length=64)
    nll_nats = models.FloatField()
    tokens = models.PositiveIntegerField()
    bytes = models.PositiveIntegerField()

    restricted_by = ("evaluation__checkpoint__language_model",)
    objects: SightManager["DocumentLoss"] = SightManager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("evaluation", "held_out_set", "doc_hash"),
                name="a_document_once_an_evaluation",
            ),
        )

    def __str__(self) -> str:
        return f"{self.held_out_set}: {self.nll_nats} nats"
