"""The audit log: every service that writes adds a row, which never changes."""

import ast
import json
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from evaluation.judging.rule import Rule
from ftportal.audit.acting import acting_as
from ftportal.audit.models import AuditEntry, AuditIsAppendOnlyError
from ftportal.audit.services import difference, record
from ftportal.audit.words import ACTIONS
from ftportal.checkpoints.services import checkpoint_delete
from ftportal.evaluations.services import verdict_rule_create
from ftportal.jobs.services import job_stop, job_submit
from tests.ftportal.house import checkpoint_make, model_make

BASE = Path(__file__).parents[3] / "ftportal"
WRITES = {
    *("save", "create", "bulk_create", "update", "update_or_create", "get_or_create"),
    *("bulk_update", "delete"),
}
NOT_BY_A_PERSON = {
    "alias_publish": "follows the ledger, whose entry is recorded",
    "aliases_sweep": "follows the ledger, whose entry is recorded",
    "alias_set": "part of an entry of the ledger, which is recorded",
    "batch_count": "the portal's own next step",
    "batch_read": "part of an upload, an answer or a version, which are recorded",
    "batch_refuse": "what reading ended with",
    "batch_settle": "what follows on reading or on a recorded answer",
    "blend_finish": "what a job ended with",
    "checkpoint_register": "what a run, a blend or an export ended with",
    "early_judge": "what a job ended with",
    "early_sweep": "what follows on jobs",
    "evaluation_finish": "what a job ended with",
    "export_finish": "what a job ended with",
    "folder_of": "names a folder when a model is first published",
    "first_administrator_link": "made by the start of the portal, before there is anybody",
    "intake_finish": "what a job ended with",
    "model_look": "part of a registration, which is recorded",
    "job_submit": "what a recorded change has done, or the portal's own next step",
    "learnability_finish": "what a job ended with",
    "output_take": "what reading ended with",
    "retention_finish": "what a job ended with",
    "retention_request": "follows on measurements and on what a sweep finds missing",
    "rows_store": "what a job measured",
    "run_finish": "what a job ended with",
    "sessions_forget": "sessions that ended by themselves",
    "spot_checks_start": "follows on answers",
    "upload_append": "a piece of a file; the batch that comes of it is recorded",
    "upload_begin": "a file on its way; the batch that comes of it is recorded",
    "uploads_drop": "clears away what nobody went on with",
    "refused_files_drop": "clears away what was kept seven days",
    "ballot_take": "holds an item for its reviewer; the vote is recorded",
    "item_hold": "part of looking at an item; the vote is recorded",
    "item_release": "part of leaving an item; the vote is recorded",
    "item_settle": "part of a vote, which is recorded",
    "items_release": "part of leaving an item; the vote is recorded",
    "trial_finish": "what a job ended with",
    "trial_follow": "what a job writes",
    "champion_compare": "judges what is measured, and changes no champion",
    "verdict_reach": "what follows on measurements",
    "verdicts_reach_possible": "what follows on measurements",
    "verdicts_renew": "what follows on a rule, whose change is recorded",
    "checkpoint_judge": "what follows on measurements",
    "follow_ups_sweep": "what follows on jobs",
    "default_measure": "what follows on runs",
    "on_run_succeeded": "what follows on runs",
    "on_blend_succeeded": "what follows on blends",
    "on_checkpoint_registered": "what follows on models",
    "on_evaluation_measured": "what follows on measurements",
    "rereads_nightly": "what follows on the clock",
    "retention_sweep": "what follows on measurements",
}
"""Functions that write without a row, and why: nobody asked for them in that moment."""


def service_functions() -> dict[str, set[str]]:
    """Every function of the services -> the names that it calls, attributes too."""
    calls: dict[str, set[str]] = defaultdict(set)
    for path in [*BASE.rglob("services.py"), *BASE.glob("*/services/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for one in ast.walk(node):
                    if isinstance(one, ast.Call):
                        function = one.func
                        if isinstance(function, ast.Name):
                            calls[node.name].add(function.id)
                        elif isinstance(function, ast.Attribute):
                            calls[node.name].add(function.attr)
                    elif isinstance(one, ast.Name):
                        calls[node.name].add(one.id)
    return calls


def reaches(calls: dict[str, set[str]], name: str, wanted: set[str], seen: set[str]) -> bool:
    """Whether a function comes to one of the wanted calls, through other services too."""
    seen.add(name)
    if calls[name] & wanted:
        return True
    return any(
        reaches(calls, other, wanted, seen)
        for other in calls[name]
        if other in calls and other not in seen and other != "record"
    )


def test_every_service_that_writes_adds_a_row() -> None:
    calls = service_functions()
    public = {name for name in calls if not name.startswith("_") and name != "record"}
    silent = {
        name
        for name in public
        if reaches(calls, name, WRITES, set()) and not reaches(calls, name, {"record"}, set())
    }
    assert silent - NOT_BY_A_PERSON.keys() == set(), "add a row, or say why there is none"


def test_every_action_has_words() -> None:
    recorded = set()
    for path in BASE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in ("record", "describe"):
                action = node.args[0 if name == "record" else 1]
                recorded |= {one.value for one in ast.walk(action) if isinstance(one, ast.Constant)}
    assert recorded - ACTIONS.keys() == set()
    assert ACTIONS.keys() - recorded == {
        "champion.first",
        "champion.promoted",
        "champion.rolled_back",
    }


@pytest.mark.django_db
def test_rows_are_never_changed_or_deleted() -> None:
    record("run.started", reason="why")
    entry = AuditEntry.objects.get()
    for change in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(reason="other"),
    ):
        with pytest.raises(AuditIsAppendOnlyError):
            change()


def test_the_difference_of_two_states() -> None:
    assert difference({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ({"b": 2}, {"b": 3, "c": 4})


@pytest.fixture
def week(cast: SimpleNamespace, data_dir: Any) -> SimpleNamespace:
    """Ada loosens a rule, Tina stops a run, and a checkpoint is deleted."""
    with acting_as(cast.ada, "10.0.0.7"):
        verdict_rule_create(name="Strict", rule=Rule(pooled_margin=0.02))
        verdict_rule_create(name="Strict", rule=Rule(pooled_margin=0.08))
    model = model_make()
    gone = checkpoint_make(model, "Reckless", model.pretrained)
    with acting_as(cast.tina, "10.0.0.8"):
        checkpoint_delete(checkpoint=gone)
        job_stop(job=job_submit(kind="ingest", title="Train Autumn", created_by=cast.rob))
    return SimpleNamespace(cast=cast, rule="Strict")


@pytest.mark.django_db
def test_a_scripted_week_answers_who_did_it(week: SimpleNamespace, client_of: Any) -> None:
    client = client_of(week.cast.ada)

    def rows(**filters: str) -> list[dict[str, Any]]:
        answer = client.get(reverse("audit:audit"), {**filters, "format": "jsonl"})
        content = b"".join(answer.streaming_content).decode()
        return [json.loads(line) for line in content.splitlines()]

    (loosened,) = rows(action="rule.changed")
    assert (loosened["who"], loosened["address"]) == ("ada", "10.0.0.7")
    assert loosened["before"] == {"pooled_margin": 0.02}
    assert loosened["after"] == {"pooled_margin": 0.08}
    (deleted,) = rows(action="checkpoint.deleted", text="reckless")
    assert (deleted["who"], deleted["name"]) == ("tina", "Reckless")
    (stopped,) = rows(action="job.stopped", text="Autumn")
    assert stopped["who"] == "tina"
    page = client.get(reverse("audit:audit"), {"action": "rule.changed"}).content.decode()
    assert "Changed a rule" in page and "0.08" in page
    today = timezone.now().date()
    assert rows(until=(today - timedelta(days=1)).isoformat()) == []
    assert len(rows(since=today.isoformat())) >= 4
    assert {row["who"] for row in rows(actor="-")} == {""}
    table = client.get(reverse("audit:audit"), {"format": "csv", "action": "rule.changed"})
    lines = b"".join(table.streaming_content).decode().splitlines()
    assert lines[0].startswith('"at","who","action"') and len(lines) == 2


@pytest.mark.django_db
def test_a_row_goes_with_its_transaction(cast: SimpleNamespace) -> None:
    from django.db import transaction

    with pytest.raises(RuntimeError), transaction.atomic():
        record("run.started", actor=cast.tina)
        raise RuntimeError
    assert AuditEntry.objects.count() == 0
