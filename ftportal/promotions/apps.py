"""Configuration of the promotions app."""

from typing import Any

from django.apps import AppConfig


class PromotionsConfig(AppConfig):
    """Gates, the ledger, promotion and rollback."""

    name = "ftportal.promotions"
    label = "promotions"

    def ready(self) -> None:
        """Open a model's ledger with its registration, keep the files that a rollback may need,
        and have the files behind the ledger read again."""
        from django.db.models.signals import post_migrate, post_save

        from ftportal.checkpoints.models import Checkpoint
        from ftportal.checkpoints.signals import checkpoint_delete_asked
        from ftportal.jobs.registry import JobKind, register
        from ftportal.promotions.rereading import KIND, reread_config
        from ftportal.promotions.services import reread_finish, rereads_nightly

        register(
            JobKind(
                name=KIND,
                word="Reading again",
                queue="default",
                module="engine.rereading",
                config=reread_config,
                on_finish=reread_finish,
                sweep=rereads_nightly,
                restricted_by=("reread__language_model",),
            )
        )

        # Not checkpoint_registered, which comes after the commit: the ledger's first entry stands
        # in the same transaction as the model, so no champion is ever without one.
        post_save.connect(_on_checkpoint_saved, sender=Checkpoint, dispatch_uid="promotions")
        checkpoint_delete_asked.connect(_on_delete_asked, dispatch_uid="promotions")
        # The highest app with tables: once its migrations are done, all others' are too.
        post_migrate.connect(_on_migrated, sender=self, dispatch_uid="promotions")


def _on_migrated(sender: Any, using: str, **kwargs: Any) -> None:
    """Give a portal what its gates need: suites, rules, held-out texts and prompts."""
    from django.conf import settings

    from ftportal.datasets.services import default_prompt_set_seed
    from ftportal.evaluations.services import evaluations_seed

    if settings.FTPORTAL_SEED and using == "default":
        evaluations_seed()
        default_prompt_set_seed()


def _on_checkpoint_saved(
    sender: Any, instance: Any, created: bool, raw: bool = False, **kwargs: Any
) -> None:
    if created and not raw and instance.is_pretrained:
        from ftportal.promotions.ledger import ledger_open

        ledger_open(instance.language_model)


def _on_delete_asked(sender: Any, checkpoint: Any, **kwargs: Any) -> str | None:
    if checkpoint.promotion_events.exists():
        return "It has been champion, and a rollback may need its files."
    return None
