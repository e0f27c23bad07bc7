"""Benchmarks that people uploaded."""

from pathlib import Path

from django.conf import settings
from django.db import models


class AnswerKind(models.TextChoices):
    """How the model answers."""

    CHOICES = "choices", "Chooses among answers"
    WORDS = "words", "Writes the answer"


class OwnBenchmark(models.Model):
    """A benchmark of one's own: its items never change once it is there."""

    name = models.CharField(max_length=80, unique=True)
    description = models.CharField(max_length=300, blank=True)
    kind = models.CharField(max_length=10, choices=AnswerKind)
    key = models.CharField(
        max_length=80, unique=True, help_text="its name in measurements; holds the content hash"
    )
    content_hash = models.CharField(max_length=64, unique=True)
    item_count = models.PositiveIntegerField()
    cluster_count = models.PositiveIntegerField(
        default=0, help_text="sources that several items share; 0 where items stand alone"
    )
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        """Its items, as `evaluation.suites.items` writes them."""
        return Path(settings.FTPORTAL_DATA) / "benchmarks" / f"{self.content_hash}.jsonl"
