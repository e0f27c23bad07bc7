"""Every address of the portal, from its URL configuration, and what a GET of each must answer."""

from collections.abc import Container, Iterator
from typing import Any

from django.db.models import Manager, QuerySet
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from ftportal.accounts.models import Link, User
from ftportal.checkpoints.models import Checkpoint, Intake, LanguageModel
from ftportal.datasets.models import Batch, HeldOutSet, PromptSet, Upload
from ftportal.evaluations.models import Evaluation, OwnBenchmark, Verdict, VerdictRule
from ftportal.handover.models import Export
from ftportal.jobs.models import Job
from ftportal.learnability.models import Learnability
from ftportal.mixtures.models import Mixture
from ftportal.reviews.models import ReviewItem, SpotCheck, Trial
from ftportal.runs.models import Run

NEWER = {
    "checkpoints.Intake",
    "datasets.ColumnShape",
    "datasets.Upload",
    "handover.AliasFolder",
    "handover.Damage",
    "handover.Export",
    "accounts.Link",
    "accounts.LoginSession",
    "audit.AuditEntry",
    "learnability.Learnability",
    "mixtures.Mixture",
    "mixtures.MixturePart",
    "reviews.Assignment",
    "reviews.ItemLease",
    "reviews.ReviewPolicy",
    "reviews.Trial",
    "reviews.TrialAnswer",
    "promotions.Reread",
    "promotions.RereadThing",
}
"""Tables that the version before did not have, so that its data have no rows for them."""

OBJECTS: dict[str, Manager[Any] | QuerySet[Any]] = {
    "accounts:invitation_withdraw": Link.objects,
    "accounts:person": User.objects,
    "accounts:person_disconnect": User.objects,
    "accounts:person_reset": User.objects,
    "accounts:person_roles": User.objects,
    "accounts:person_second_factor": User.objects,
    "accounts:person_sessions": User.objects,
    "accounts:person_state": User.objects,
    "blends:blends": Checkpoint.objects.filter(parent__isnull=False),
    "blends:origin": Checkpoint.objects,
    "checkpoints:checkpoint": Checkpoint.objects,
    "checkpoints:checkpoint_delete": Checkpoint.objects,
    "checkpoints:intake": Intake.objects,
    "checkpoints:model_asking": LanguageModel.objects,
    "checkpoints:model_people": LanguageModel.objects,
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
    "handover:card": Checkpoint.objects.filter(parent__isnull=False),
    "handover:download": Checkpoint.objects,
    "handover:export": Checkpoint.objects,
    "handover:export_delete": Export.objects,
    "handover:file": Checkpoint.objects,
    "handover:files_check": Checkpoint.objects,
    "handover:panel": Checkpoint.objects,
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
    "promotions:reread": Checkpoint.objects,
    "promotions:reread_panel": Checkpoint.objects,
    "promotions:promote": Checkpoint.objects,
    "reviews:assign": SpotCheck.objects,
    "reviews:checkpoint_panel": Checkpoint.objects,
    "checkpoints:checkpoint_describe": Checkpoint.objects,
    "dashboard:run_outcome": Run.objects.filter(output__isnull=False),
    "runs:run_describe": Run.objects,
    "reviews:chosen_batch": SpotCheck.objects,
    "reviews:mine": SpotCheck.objects,
    "reviews:close": SpotCheck.objects,
    "reviews:decide": SpotCheck.objects,
    "reviews:open": Checkpoint.objects,
    "reviews:plan": SpotCheck.objects,
    "reviews:retry": SpotCheck.objects,
    "reviews:spot_check": SpotCheck.objects,
    "reviews:trial": Trial.objects,
    "reviews:trials": Checkpoint.objects,
    "reviews:undo": SpotCheck.objects,
    "reviews:vote": SpotCheck.objects,
    "reviews:votes_jsonl": SpotCheck.objects.filter(state__in=("approved", "rejected")),
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


ITEM_ROUTES: dict[str, tuple[str, ...]] = {
    "reviews:answer_text": ("left",),
    "reviews:answers": (),
    "reviews:item": (),
    "reviews:leave": (),
    "reviews:skip": (),
}
"""Routes that name an item of a spot-check by its number, and what else fills them."""

FILE_ROUTES = {"handover:file": ("config.json",)}
"""Routes that name a file of an object."""

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


def addresses(
    name: str, pattern: URLPattern, *, may_be_missing: Container[str] = NEWER
) -> Iterator[str]:
    """Every address of a route; none where its table `may_be_missing`. Raises LookupError where
    nothing here says how to fill it."""
    if not pattern.pattern.converters or name in ARGUMENTS:
        yield reverse(name, args=ARGUMENTS.get(name, ()))
        return
    rows = rows_of(name)
    if not rows and rows.model._meta.label not in may_be_missing:
        raise LookupError(f"{name} cannot be filled: there is none of these")
    for row in rows:
        yield address(name, row)


def rows_of(name: str) -> QuerySet[Any]:
    """What a route is about. Raises LookupError where nothing here says it."""
    if name in ITEM_ROUTES:
        answered = {
            f"spot_check__{side}_answers__complete": True for side in ("candidate", "baseline")
        }
        return ReviewItem.objects.filter(**answered).order_by("pk")
    if name not in OBJECTS:
        raise LookupError(f"{name} cannot be filled: add it to OBJECTS")
    return OBJECTS[name].all()


def address(name: str, row: Any) -> str:
    """The address of a route for one thing that it is about."""
    if name in ITEM_ROUTES:
        return reverse(name, args=[row.spot_check_id, row.position + 1, *ITEM_ROUTES[name]])
    return reverse(name, args=[row.pk, *FILE_ROUTES.get(name, ())])


POST_ONLY = {
    "accounts:account_dates",
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
    "promotions:reread",
    "promotions:rollback",
    "reviews:chosen_batch",
    "handover:export",
    "handover:export_delete",
    "handover:files_check",
    "reviews:assign",
    "reviews:close",
    "reviews:decide",
    "reviews:leave",
    "reviews:plan",
    "reviews:retry",
    "reviews:skip",
    "reviews:undo",
    "runs:run_mixture",
    "runs:run_preview",
    "runs:run_resume",
    "runs:run_stop",
}
"""What takes a form and shows no page: 405."""
NOT_CONFIGURED = {
    "accounts:openid_callback",
    "accounts:openid_connect",
    "accounts:openid_disconnect",
    "accounts:openid_start",
    "accounts:person_disconnect",
    "accounts:person_second_factor",
    "accounts:recovery_codes",
    "accounts:second_factor",
    "accounts:second_factor_ask",
    "accounts:second_factor_remove",
    "dashboard:metrics",
}
"""What is there only where a provider, second factors or metrics are configured: 404."""
ROLES = {
    "checkpoints:checkpoint_describe": {"administrator", "trainer"},
    "checkpoints:model_new": {"administrator"},
    "checkpoints:model_asking": {"administrator"},
    "checkpoints:model_people": {"administrator"},
    "datasets:batch_new": {"trainer"},
    "datasets:held_out_set_new": {"trainer", "administrator"},
    "datasets:prompt_set_new": {"trainer", "administrator"},
    "evaluations:benchmark_new": {"trainer", "administrator"},
    "evaluations:rule_edit": {"administrator"},
    "evaluations:suite_new": {"administrator"},
    "handover:download": {"administrator", "releaser", "trainer"},
    "handover:file": {"administrator", "releaser", "trainer"},
    "reviews:answer_text": {"reviewer"},
    "reviews:answers": {"reviewer"},
    "reviews:item": {"reviewer"},
    "reviews:mine": {"reviewer"},
    "reviews:open": {"reviewer", "trainer"},
    "reviews:vote": {"reviewer"},
    "accounts:people": {"administrator"},
    "accounts:person": {"administrator"},
    "audit:audit": {"administrator"},
    "mixtures:mixture_new": {"trainer"},
    "runs:run_describe": {"trainer"},
    "runs:run_new": {"trainer"},
}
"""Who may open what not everybody may: others get 403."""
ELSEWHERE = {"accounts:login", "evaluations:evaluation", "reviews:vote"}
"""What may send a person on: one who is logged in or has judged everything, and from a repeated
measurement to the first one."""

KEPT_FROM_JUDGES = {"reviews:votes_jsonl"}
"""What a reviewer who may still judge another check of the model does not get: 403."""


def expected_status(name: str, person: User) -> set[int]:
    """What a GET of the route may answer to this person."""
    if name in POST_ONLY:
        return {405}
    if name in NOT_CONFIGURED:
        return {404}
    if name == "accounts:welcome":
        return {410}
    if name in ROLES and not any(person.has_role(role) for role in ROLES[name]):
        return {403}
    if name in KEPT_FROM_JUDGES and person.has_role("reviewer"):
        return {200, 403}
    return {200, 302} if name in ELSEWHERE else {200}
