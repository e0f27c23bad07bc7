"""What an empty portal needs before anything can be taught, shown on Home until it is done."""

from dataclasses import dataclass

from django.urls import reverse

from ftportal.accounts.models import Role, User
from ftportal.accounts.selectors import is_alone
from ftportal.checkpoints.models import LanguageModel
from ftportal.datasets.models import Batch


@dataclass(frozen=True, kw_only=True)
class FirstStep:
    """One thing that has to be done once."""

    title: str
    why: str
    url: str
    role: Role
    is_done: bool
    may: bool
    """Whether the person who looks can do it."""


def first_steps(user: User) -> list[FirstStep]:
    """The steps with what is done already; empty once all are, or where it is others' turn."""
    steps = (
        (
            "Register a language model",
            "Its weights become the anchor that every rollback can reach.",
            reverse("checkpoints:model_new"),
            Role.ADMINISTRATOR,
            LanguageModel.objects.exists(),
        ),
        (
            "Invite people",
            "Who trains does not judge the result: it takes a trainer, a reviewer and a releaser.",
            reverse("accounts:people"),
            Role.ADMINISTRATOR,
            not is_alone(),
        ),
        (
            "Upload a batch",
            "Examples to learn from; the folder examples/ of the project holds three to try.",
            reverse("datasets:batch_new"),
            Role.TRAINER,
            Batch.objects.exists(),
        ),
    )
    if not any(
        user.has_role(role) or user.is_administrator for *_, role, done in steps if not done
    ):
        return []
    return [
        FirstStep(
            title=title, why=why, url=url, role=role, is_done=is_done, may=user.has_role(role)
        )
        for title, why, url, role, is_done in steps
    ]
