"""Configuration of the evaluations app."""

from django.apps import AppConfig


class EvaluationsConfig(AppConfig):
    """Suites, evaluations, scores and verdicts."""

    name = "ftportal.evaluations"
    label = "evaluations"
