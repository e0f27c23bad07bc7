"""Configuration of the reviews app."""

from django.apps import AppConfig


class ReviewsConfig(AppConfig):
    """Blind spot-checks by people."""

    name = "ftportal.reviews"
    label = "reviews"

    def ready(self) -> None:
        """Register generate jobs; open a spot-check when a verdict is reached."""
        from ftportal.checkpoints.signals import alias_moved, checkpoint_delete_asked
        from ftportal.evaluations.signals import verdict_reached
        from ftportal.jobs.registry import JobKind, register
        from ftportal.reviews import followups
        from ftportal.reviews.services.trials import trial_follow

        register(
            JobKind(
                name="generate",
                word="Answering",
                queue="evaluate",
                module="evaluation",
                config=followups.generate_config,
                on_finish=followups.generate_finish,
                on_events=trial_follow,
                sweep=followups.sweep,
                restricted_by=(
                    "generation_set__checkpoint__language_model",
                    "trial_answer__checkpoint__language_model",
                ),
                resumable=False,
            )
        )
        alias_moved.connect(followups.on_alias_moved, dispatch_uid="reviews")
        verdict_reached.connect(followups.on_verdict_reached, dispatch_uid="reviews")
        checkpoint_delete_asked.connect(
            followups.on_checkpoint_delete_asked, dispatch_uid="reviews"
        )
