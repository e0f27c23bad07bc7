"""Configuration of the evaluations app."""

from django.apps import AppConfig


class EvaluationsConfig(AppConfig):
    """Suites, evaluations, scores and verdicts."""

    name = "ftportal.evaluations"
    label = "evaluations"

    def ready(self) -> None:
        """Register evaluate jobs; measure what runs and blends have made, and every new anchor."""
        from ftportal.blends.signals import blend_succeeded
        from ftportal.checkpoints.signals import checkpoint_delete_asked, checkpoint_registered
        from ftportal.datasets.contamination import register_source
        from ftportal.evaluations.contamination import benchmark_texts
        from ftportal.evaluations.kind import EVALUATE
        from ftportal.evaluations.services import follow_ups
        from ftportal.evaluations.signals import evaluation_measured
        from ftportal.jobs.registry import register
        from ftportal.runs.signals import run_succeeded

        register(EVALUATE)
        register_source("benchmarks", benchmark_texts)
        run_succeeded.connect(follow_ups.on_run_succeeded, dispatch_uid="evaluations")
        blend_succeeded.connect(follow_ups.on_blend_succeeded, dispatch_uid="evaluations")
        checkpoint_registered.connect(
            follow_ups.on_checkpoint_registered, dispatch_uid="evaluations"
        )
        checkpoint_delete_asked.connect(
            follow_ups.on_checkpoint_delete_asked, dispatch_uid="evaluations"
        )
        evaluation_measured.connect(follow_ups.on_evaluation_measured, dispatch_uid="evaluations")
