"""Suites, evaluations of checkpoints by them, and the verdicts drawn from pairs of evaluations."""

from ftportal.evaluations.models.benchmarks import AnswerKind, OwnBenchmark
from ftportal.evaluations.models.measurements import DocumentLoss, Evaluation, Sample, Score
from ftportal.evaluations.models.retention import ExampleLoss, Retention
from ftportal.evaluations.models.suites import Suite, VerdictRule
from ftportal.evaluations.models.verdicts import Verdict, VerdictOutcome

__all__ = [
    "AnswerKind",
    "DocumentLoss",
    "Evaluation",
    "ExampleLoss",
    "OwnBenchmark",
    "Retention",
    "Sample",
    "Score",
    "Suite",
    "Verdict",
    "VerdictOutcome",
    "VerdictRule",
]
