"""Suites, evaluations of checkpoints by them, and the verdicts drawn from pairs of evaluations."""

from django.db import models

from ftportal.checkpoints.models import Checkpoint
from ftportal.datasets.models import HeldOutSet
from ftportal.jobs.models import Job


class VerdictRule(models.Model):
    """Margins and tests, versioned: a change makes a new version, so old verdicts keep theirs."""

    name = models.CharField(max_length=80)
    version = models.PositiveIntegerField(default=1)
    rule = models.JSONField(help_text="evaluation.verdict.Rule as JSON")
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
        help_text='[{"name", "source", "limit", "item_count", "content_hash"}]'
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
        """Benchmark items that one measurement answers."""
        return sum(benchmark["item_count"] for benchmark in self.benchmarks)


class Evaluation(models.Model):
    """One measurement of one checkpoint by one suite; never done twice for the same weights."""

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="evaluations")
    suite = models.ForeignKey(Suite, on_delete=models.PROTECT, related_name="evaluations")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="evaluation")
    measured = models.BooleanField(default=False, help_text="scores and samples are stored")
    judged = models.BooleanField(
        default=False, help_text="its verdicts against the baselines of its time are reached"
    )
    problem = models.TextField(
        blank=True, help_text="why its results could not be used, and a cure"
    )
    settings = models.JSONField(default=dict, blank=True, help_text="what the engine really used")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("checkpoint", "suite"), name="nothing_is_measured_twice"
            ),
        )

    def __str__(self) -> str:
        return f"{self.checkpoint} by {self.suite}"


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

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("evaluation", "held_out_set", "doc_hash"),
                name="a_document_once_an_evaluation",
            ),
        )

    def __str__(self) -> str:
        return f"{self.held_out_set}: {self.nll_nats} nats"


class VerdictOutcome(models.TextChoices):
    """The only three outcomes there are."""

    RETAINED = "retained", "Retained"
    FORGOTTEN = "forgotten", "Forgotten"
    INCONCLUSIVE = "inconclusive", "Inconclusive"


class Verdict(models.Model):
    """What changed between two evaluations by the same suite, judged by one rule."""

    before = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="verdicts_after")
    after = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="verdicts")
    rule = models.ForeignKey(VerdictRule, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=14, choices=VerdictOutcome)
    reason = models.TextField()
    evidence = models.JSONField(help_text="evaluation.verdict.Verdict as JSON: a row a comparison")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(fields=("before", "after", "rule"), name="one_verdict_a_pair"),
        )

    def __str__(self) -> str:
        return f"{self.get_outcome_display()}: {self.after.checkpoint}"
