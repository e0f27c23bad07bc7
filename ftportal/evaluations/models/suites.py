"""Suites, and the rules that judge what they measure."""

from django.db import models

from ftportal.datasets.models import HeldOutSet


class VerdictRule(models.Model):
    """Margins and tests, versioned: a change makes a new version, so old verdicts keep theirs."""

    name = models.CharField(max_length=80)
    version = models.PositiveIntegerField(default=1)
    rule = models.JSONField(help_text="evaluation.judging.verdict.Rule as JSON")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "-version")
        constraints = (
            models.UniqueConstraint(fields=("name", "version"), name="one_rule_a_version"),
        )

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}"


class Suite(models.Model):
    """A named, versioned list of benchmarks and held-out sets with pinned settings."""

    name = models.CharField(max_length=80)
    version = models.PositiveIntegerField(default=1)
    description = models.CharField(max_length=300, blank=True)
    benchmarks = models.JSONField(
        blank=True, help_text='[{"name", "source", "limit", "item_count", "content_hash"}]'
    )
    held_out_sets = models.ManyToManyField(HeldOutSet, blank=True)
    settings = models.JSONField(help_text="windows, batch size, dtype: pinned for both sides")
    content_hash = models.CharField(
        max_length=64,
        help_text="benchmarks, held-out sets and settings; not the name, not the rule",
    )
    rule = models.ForeignKey(VerdictRule, on_delete=models.PROTECT)
    is_default = models.BooleanField(default=False, help_text="measured after every run")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "-version")
        constraints = (
            models.UniqueConstraint(fields=("name", "version"), name="one_suite_a_version"),
        )

    def __str__(self) -> str:
        return self.name if self.version == 1 else f"{self.name}, version {self.version}"

    @property
    def item_count(self) -> int:
        """Benchmark items that one measurement answers, as far as that is known beforehand."""
        return sum(benchmark["item_count"] or 0 for benchmark in self.benchmarks)
