"""Who may do what: every route and method of the URL configuration, for every role."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.upgrade.routes import routes

pytestmark = pytest.mark.django_db
TRAINER, REVIEWER, RELEASER, ADMIN = {"tina"}, {"rob"}, {"leo"}, {"ada"}
ALL = {"otto", "tina", "rob", "leo", "ada"}
OPEN = {
    "accounts:login",
    "accounts:openid_callback",
    "accounts:openid_start",
    "accounts:second_factor_ask",
    "accounts:welcome",
    "dashboard:healthz",
    "dashboard:metrics",
    "dashboard:readyz",
}
"""Without a login."""

READS = {
    **dict.fromkeys(
        [
            "accounts:account",
            "accounts:login",
            "accounts:openid_callback",
            "accounts:openid_start",
            "accounts:second_factor",
            "accounts:second_factor_ask",
            "accounts:welcome",
            "blends:blends",
            "blends:origin",
            "checkpoints:checkpoint",
            "checkpoints:checkpoints",
            "checkpoints:intake",
            "dashboard:blend_curve",
            "dashboard:compare",
            "dashboard:healthz",
            "dashboard:home",
            "dashboard:lineage",
            "dashboard:metrics",
            "dashboard:readyz",
            "dashboard:run_outcome",
            "datasets:batch",
            "datasets:batches",
            "datasets:examples",
            "datasets:group",
            "datasets:held_out_set",
            "datasets:held_out_sets",
            "datasets:problems_csv",
            "datasets:prompt_set",
            "datasets:prompt_sets",
            "evaluations:benchmark",
            "evaluations:benchmarks",
            "evaluations:checkpoint_panel",
            "evaluations:evaluation",
            "evaluations:evaluations",
            "evaluations:report",
            "evaluations:rules",
            "evaluations:suites",
            "evaluations:verdict",
            "handover:card",
            "handover:panel",
            "jobs:jobs",
            "jobs:progress",
            "learnability:decisions",
            "learnability:panel",
            "mixtures:first",
            "mixtures:mixture",
            "mixtures:mixtures",
            "promotions:checkpoint_panel",
            "promotions:ledger",
            "promotions:promotions",
            "promotions:reread_panel",
            "reviews:checkpoint_panel",
            "reviews:policy",
            "reviews:reviews",
            "reviews:spot_check",
            "reviews:votes_jsonl",
            "reviews:trial",
            "reviews:trials",
            "runs:batch_panel",
            "runs:checkpoint_panel",
            "runs:metrics",
            "runs:metrics_csv",
            "runs:run",
            "runs:run_figures",
            "runs:runs",
        ],
        ALL,
    ),
    "checkpoints:checkpoint_describe": TRAINER | ADMIN,
    "accounts:people": ADMIN,
    "accounts:person": ADMIN,
    "audit:audit": ADMIN,
    "checkpoints:model_new": ADMIN,
    "checkpoints:model_asking": ADMIN,
    "checkpoints:model_people": ADMIN,
    "datasets:batch_new": TRAINER,
    "datasets:held_out_set_new": TRAINER | ADMIN,
    "datasets:prompt_set_new": TRAINER | ADMIN,
    "evaluations:benchmark_new": TRAINER | ADMIN,
    "evaluations:rule_edit": ADMIN,
    "evaluations:suite_new": ADMIN,
    "handover:download": TRAINER | RELEASER | ADMIN,
    "handover:file": TRAINER | RELEASER | ADMIN,
    "mixtures:mixture_new": TRAINER,
    "reviews:answer_text": REVIEWER,
    "reviews:answers": REVIEWER,
    "reviews:item": REVIEWER,
    "reviews:mine": REVIEWER,
    "reviews:open": TRAINER | REVIEWER,
    "reviews:vote": REVIEWER,
    "runs:run_describe": TRAINER,
    "runs:run_new": TRAINER,
}
"""Who may open a page; what is not here has none."""

WRITES = {
    "accounts:account": ALL,
    "accounts:account_dates": ALL,
    "accounts:account_password": ALL,
    "accounts:account_sessions": ALL,
    "accounts:invitation_withdraw": ADMIN,
    "accounts:invite": ADMIN,
    "accounts:login": ALL,
    "accounts:logout": ALL,
    "accounts:openid_connect": ALL,
    "accounts:openid_disconnect": ALL,
    "accounts:person_disconnect": ADMIN,
    "accounts:person_reset": ADMIN,
    "accounts:person_roles": ADMIN,
    "accounts:person_second_factor": ADMIN,
    "accounts:person_sessions": ADMIN,
    "accounts:person_state": ADMIN,
    "accounts:recovery_codes": ALL,
    "accounts:second_factor": ALL,
    "accounts:second_factor_ask": ALL,
    "accounts:second_factor_remove": ALL,
    "accounts:welcome": ALL,
    "blends:blends": TRAINER,
    "checkpoints:checkpoint_delete": TRAINER | ADMIN,
    "checkpoints:checkpoint_describe": TRAINER | ADMIN,
    "checkpoints:model_new": ADMIN,
    "checkpoints:model_asking": ADMIN,
    "checkpoints:model_people": ADMIN,
    "datasets:batch_answer": TRAINER,
    "datasets:batch_delete": TRAINER | ADMIN,
    "datasets:batch_describe": TRAINER,
    "datasets:batch_new": TRAINER,
    "datasets:batch_withdraw": TRAINER | ADMIN,
    "datasets:columns_preview": TRAINER,
    "datasets:held_out_set_new": TRAINER | ADMIN,
    "datasets:import_good": TRAINER,
    "datasets:look": TRAINER,
    "datasets:prompt_set_new": TRAINER | ADMIN,
    "datasets:upload_new": TRAINER,
    "datasets:upload_piece": TRAINER,
    "datasets:version_new": TRAINER,
    "evaluations:benchmark_delete": TRAINER | ADMIN,
    "evaluations:benchmark_new": TRAINER | ADMIN,
    "evaluations:measure": TRAINER,
    "evaluations:measure_again": TRAINER | ADMIN,
    "evaluations:rule_edit": ADMIN,
    "evaluations:suite_new": ADMIN,
    "handover:export": TRAINER | RELEASER,
    "handover:export_delete": TRAINER | ADMIN,
    "handover:files_check": TRAINER | RELEASER | ADMIN,
    "jobs:resume": TRAINER,
    "jobs:stop": TRAINER,
    "learnability:leave_out": TRAINER,
    "learnability:score": TRAINER,
    "mixtures:mixture_delete": TRAINER | ADMIN,
    "mixtures:mixture_new": TRAINER,
    "promotions:compare": TRAINER | REVIEWER | RELEASER,
    "promotions:promote": RELEASER,
    "promotions:reread": ADMIN,
    "promotions:rollback": RELEASER,
    "reviews:chosen_batch": TRAINER,
    "reviews:item": REVIEWER,
    "reviews:assign": ADMIN | RELEASER,
    "reviews:close": ADMIN,
    "reviews:decide": REVIEWER | RELEASER,
    "reviews:leave": REVIEWER,
    "reviews:open": TRAINER | REVIEWER,
    "reviews:plan": REVIEWER,
    "reviews:policy": ADMIN,
    "reviews:retry": TRAINER | REVIEWER,
    "reviews:skip": REVIEWER,
    "reviews:trials": TRAINER | REVIEWER | RELEASER,
    "reviews:undo": REVIEWER,
    "runs:run_mixture": TRAINER,
    "runs:run_describe": TRAINER,
    "runs:run_new": TRAINER,
    "runs:run_preview": TRAINER,
    "runs:run_resume": TRAINER,
    "runs:run_stop": TRAINER,
}
"""Who may send a form to a route; what is not here takes none."""


def address(pattern: Any, name: str, job: Any) -> str:
    """An address of the route. Its object is none, but for jobs, where the job itself decides."""
    fillers = {"IntConverter": 10**6, "UUIDConverter": "3f1c1e9e-0000-4000-8000-000000000000"}
    arguments = [
        fillers.get(type(converter).__name__, "none")
        for converter in pattern.pattern.converters.values()
    ]
    return reverse(name, args=[job.pk] if name in ("jobs:resume", "jobs:stop") else arguments)


def test_every_route_is_in_the_matrix() -> None:
    names = {name for name, _ in routes()}
    assert names - READS.keys() - WRITES.keys() == set(), "say who may use the new route"
    assert READS.keys() | WRITES.keys() == names


def test_the_matrix_holds_for_every_route_method_and_role(
    cast: SimpleNamespace, language_model: Any, settings: Any
) -> None:
    settings.FTPORTAL_SECOND_FACTOR = "optional"
    settings.FTPORTAL_OIDC_ISSUER = "http://127.0.0.1:1"  # nothing is there
    from ftportal.jobs.models import Job

    job = Job.objects.create(kind="ingest", title="a job of Tina's", created_by=cast.tina)
    clients = {name: Client(raise_request_exception=False) for name in ALL}
    for name, client in clients.items():
        client.force_login(getattr(cast, name))
    wrong = []
    for name, pattern in routes():
        url = address(pattern, name, job)
        for method, allowed in (("get", READS.get(name)), ("post", WRITES.get(name))):
            for person in sorted(ALL):
                if name == "accounts:logout" and method == "post":
                    continue
                status = getattr(clients[person], method)(url).status_code
                if allowed is None:
                    fits = status == 405
                elif person in allowed:
                    fits = status not in (403, 405, 500)
                else:
                    fits = status == 403
                if not fits:
                    wrong.append(f"{method} {name} as {person}: {status}")
        for method in ("put", "patch", "delete"):
            status = getattr(clients["ada"], method)(url).status_code
            if status not in (302, 403, 405, 410):
                wrong.append(f"{method} {name}: {status}")
        for method in ("get", "post"):
            answer = getattr(Client(), method)(url)
            if name not in OPEN and not answer.headers.get("Location", "").startswith("/login/"):
                wrong.append(f"{method} {name} without a login: {answer.status_code}")
    assert wrong == []
