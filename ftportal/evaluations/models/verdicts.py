"""Verdicts drawn from pairs of measurements."""

from django.db import models

from ftportal.accounts.sight import SightManager
from ftportal.evaluations.models.measurements import Evaluation
from ftportal.evaluations.models.suites import VerdictRule


class VerdictOutcome(models.TextChoices):
    """The only three outcomes there are."""

    RETAINED = "retained", "Retained"
    FORGOTTEN = "forgotten", "Forgotten"
    INCONCLUSIVE = "inconclusive", "Inconclusive"


class WholeVerdicts(SightManager["Verdict"]):
    """Verdicts on whole measurements: the ones that gates, ledgers and later steps go by."""

    def get_queryset(self) -> models.QuerySet["Verdict"]:
        """Verdicts on what was stopped early are left out: they are a first look."""
        return super().get_queryset().filter(after__adaptive_key="")


class Verdict(models.Model):
    """What changed between two evaluations by the same suite, judged by one rule."""

    before = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="verdicts_after")
    after = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="verdicts")
    rule = models.ForeignKey(VerdictRule, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=14, choices=VerdictOutcome)
    reason = models.TextField()
    evidence = models.JSONField(
        help_text="evaluation.judging.verdict.Verdict as JSON: a row a comparison"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    restricted_by = ("after__checkpoint__language_model",)
    objects = WholeVerdicts()
    with_early: SightManager["Verdict"] = SightManager()

    class Meta:
        ordering = ("-created_at",)
        constraints = (
            models.UniqueConstraint(fields=("before", "after", "rule"), name="one_verdict_a_pair"),
        )

    def __str__(self) -> str:
        return f"{self.get_outcome_display()}: {self.after.checkpoint}"
