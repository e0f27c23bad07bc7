"""Every address of the portal, from its URL configuration, and what a GET of each must answer."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Manager, QuerySet
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from ftportal.accounts.models import Link, User
from ftportal.checkpoints.models import Checkpoint, Intake
from ftportal.datasets.models import Batch, HeldOutSet, PromptSet, Upload
from ftportal.evaluations.models import Evaluation, OwnBenchmark, Verdict, VerdictRule
from ftportal.jobs.models import Job
from ftportal.learnability.models import Learnability
from ftportal.mixtures.models import Mixture
from ftportal.reviews.models import SpotCheck
from ftportal.runs.models import Run

NEWER = {
    "checkpoints.Intake",
    "datasets.ColumnShape",
    "datasets.Upload",
    "accounts.Link",
    "accounts.LoginSession",
    "audit.AuditEntry",
    "learnability.Learnability",
    "mixtures.Mixture",
    "mixtures.MixturePart",
}
"""Tables that the version before did not have, so that its data have no rows for them."""

OBJECTS: dict[str, Manager[Any] | QuerySet[Any]] = {
    "accounts:invitation_withdraw": Link.objects,
    "accounts:person": User.objects,
    "accounts:person_reset": User.objects,
    "accounts:person_roles": User.objects,
    "accounts:person_sessions": User.objects,
    "accounts:person_state": User.objects,
    "blends:blends": Checkpoint.objects.filter(parent__isnull=False),
    "blends:origin": Checkpoint.objects,
    "checkpoints:checkpoint": Checkpoint.objects,
    "checkpoints:checkpoint_delete": Checkpoint.objects,
    "checkpoints:intake": Intake.objects,
    "dashboard:blend_curve": Checkpoint.objects.filter(parent__isnull=False),
    "datasets:batch": Batch.objects,
    "datasets:batch_answer": Batch.objects,
    "datasets:batch_delete": Batch.objects,
    "datasets:batch_describe": Batch.objects,
    "datasets:batch_withdraw": Batch.objects,
    "datasets:columns_preview": Batch.objects,
    "datasets:examples": Batch.objects.filter(state="ready"),
    "datasets:group": Batch.objects,
    "datasets:import_good": Batch.objects,
    "datasets:problems_csv": Batch.objects,
    "datasets:upload_piece": Upload.objects,
    "datasets:version_new": Batch.objects,
    "datasets:held_out_set": HeldOutSet.objects,
    "datasets:prompt_set": PromptSet.objects,
    "learnability:decisions": Batch.objects,
    "learnability:leave_out": Learnability.objects,
    "learnability:panel": Batch.objects,
    "learnability:score": Batch.objects,
    "mixtures:first": Mixture.objects,
    "mixtures:mixture": Mixture.objects,
    "mixtures:mixture_delete": Mixture.objects,
    "evaluations:benchmark": OwnBenchmark.objects,
    "evaluations:benchmark_delete": OwnBenchmark.objects,
    "evaluations:checkpoint_panel": Checkpoint.objects,
    "evaluations:evaluation": Evaluation.with_repeats,
    "evaluations:measure": Checkpoint.objects,
    "evaluations:measure_again": Evaluation.objects,
    "evaluations:report": Checkpoint.objects,
    "evaluations:rule_edit": VerdictRule.objects,
    "evaluations:verdict": Verdict.with_early,
    "jobs:progress": Job.objects,
    "jobs:resume": Job.objects,
    "jobs:stop": Job.objects,
    "promotions:checkpoint_panel": Checkpoint.objects,
    "promotions:compare": Checkpoint.objects,
    "promotions:promote": Checkpoint.objects,
    "reviews:checkpoint_panel": Checkpoint.objects,
    "reviews:decide": SpotCheck.objects,
    "reviews:open": Checkpoint.objects,
    "reviews:plan": SpotCheck.objects,
    "reviews:retry": SpotCheck.objects,
    "reviews:spot_check": SpotCheck.objects,
    "reviews:undo": SpotCheck.objects,
    "reviews:vote": SpotCheck.objects,
    "runs:batch_panel": Batch.objects,
    "runs:checkpoint_panel": Checkpoint.objects,
    "runs:metrics": Run.objects,
    "runs:metrics_csv": Run.objects,
    "runs:run": Run.objects,
    "runs:run_figures": Run.objects,
    "runs:run_resume": Run.objects,
    "runs:run_stop": Run.objects,
}
"""Whose keys fill a route."""


ARGUMENTS = {"accounts:welcome": ("a-link-that-is-none",)}
"""What fills a route that names no object."""


def routes() -> list[tuple[str, URLPattern]]:
    """Every named route as (app:name, pattern)."""
    return [
        (f"{resolver.app_name}:{pattern.name}", pattern)
        for resolver in get_resolver().url_patterns
        if isinstance(resolver, URLResolver)
        for pattern in resolver.url_patterns
        if isinstance(pattern, URLPattern)
    ]


def addresses(name: str, pattern: URLPattern) -> Iterator[str]:
    """Every address of a route. Raises LookupError where nothing here says how to fill it."""
    parameters = set(pattern.pattern.converters)
    if not parameters or name in ARGUMENTS:
        yield reverse(name, args=ARGUMENTS.get(name, ()))
        return
    if parameters != {"pk"} or name not in OBJECTS:
        raise LookupError(f"{name} cannot be filled: add it to OBJECTS")
    keys = list(OBJECTS[name].values_list("pk", flat=True))
    if not keys and OBJECTS[name].model._meta.label not in NEWER:
        raise LookupError(f"{name} cannot be filled: the old data have none of these")
    for key in keys:
        yield reverse(name, args=[key])


POST_ONLY = {
    "accounts:account_password",
    "accounts:account_sessions",
    "accounts:invitation_withdraw",
    "accounts:invite",
    "accounts:logout",
    "accounts:person_reset",
    "accounts:person_roles",
    "accounts:person_sessions",
    "accounts:person_state",
    "checkpoints:checkpoint_delete",
    "datasets:batch_answer",
    "datasets:batch_delete",
    "datasets:batch_describe",
    "datasets:batch_withdraw",
    "datasets:columns_preview",
    "datasets:import_good",
    "datasets:look",
    "datasets:upload_new",
    "datasets:upload_piece",
    "datasets:version_new",
    "learnability:leave_out",
    "learnability:score",
    "mixtures:mixture_delete",
    "evaluations:benchmark_delete",
    "evaluations:measure",
    "evaluations:measure_again",
    "jobs:resume",
    "jobs:stop",
    "promotions:compare",
    "promotions:promote",
    "promotions:rollback",
    "reviews:decide",
    "reviews:open",
    "reviews:plan",
    "reviews:retry",
    "reviews:undo",
    "runs:run_mixture",
    "runs:run_preview",
    "runs:run_resume",
    "runs:run_stop",
}
"""What takes a form and shows no page: 405."""
ROLES = {
    "checkpoints:model_new": {"administrator"},
    "datasets:batch_new": {"trainer"},
    "datasets:held_out_set_new": {"trainer", "administrator"},
    "datasets:prompt_set_new": {"trainer", "administrator"},
    "evaluations:benchmark_new": {"trainer", "administrator"},
    "evaluations:rule_edit": {"administrator"},
    "evaluations:suite_new": {"administrator"},
    "reviews:vote": {"reviewer"},
    "accounts:people": {"administrator"},
    "accounts:person": {"administrator"},
    "audit:audit": {"administrator"},
    "mixtures:mixture_new": {"trainer"},
    "runs:run_new": {"trainer"},
}
"""Who may open what not everybody may: others get 403."""
ELSEWHERE = {"accounts:login", "evaluations:evaluation", "reviews:vote"}
"""What may send a person on: one who is logged in or has judged everything, and from a repeated
measurement to the first one."""


def expected_status(name: str, person: User) -> set[int]:
    """What a GET of the route may answer to this person."""
    if name in POST_ONLY:
        return {405}
    if name == "accounts:welcome":
        return {410}
    if name in ROLES and not any(person.has_role(role) for role in ROLES[name]):
        return {403}
    return {200, 302} if name in ELSEWHERE else {200}
