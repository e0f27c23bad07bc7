"""What is said of a file before and after it is read: rules, counts, lengths."""

import io
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from corpus.ingestion.engine import main as ingestion_main
from ftportal.datasets.models import Batch, BatchState
from tests.ftportal.datasets.conftest import lines, talk
from tests.tiny_model import CHAT_TEMPLATE

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
Upload = Callable[..., Batch]
Read = Callable[[Batch], Batch]


def test_the_form_looks_at_a_file_before_it_is_sent(
    client_of: Any, cast: SimpleNamespace, language_model: Any
) -> None:
    def look(content: bytes, name: str = "x.jsonl", **more: str) -> str:
        head = io.BytesIO(content)
        head.name = "head"
        data = {"head": head, "filename": name, "whole": "yes", **more}
        response = client_of(cast.tina).post(reverse("datasets:look"), data)
        assert response.status_code == 200
        return str(response.content.decode())

    calls = [{"name": "f", "arguments": {}}]
    called = {"role": "assistant", "content": "", "tool_calls": calls}
    user = {"role": "user", "content": "q"}
    agent = {"traj": [user, called, user, {"role": "assistant", "content": "a"}], "mood": 1}
    page = look(lines([agent] * 4))
    assert "Agent trajectories" in page and "4 examples" in page
    assert "Every answer: 8 decisions; of 4 tool calls, 4" in page
    assert "Last answer: 4 decisions; of 4 tool calls, 0" in page
    assert "The last decision in 4 of 4 is the same" in page
    assert "mood" in page
    assert "zip archive" in look(b"PK\x03\x04 x")
    assert "which column is what" in look(b"question,answer\na,b\n", "x.csv")
    torn = lines([talk(1), talk(2)])[:-9]
    page = look(torn, whole="")
    assert "1 example at its beginning" in page and "not JSON" not in page
    assert client_of(cast.otto).post(reverse("datasets:look")).status_code == 403


def test_agent_logs_learn_every_turn_by_default(
    client_of: Any, cast: SimpleNamespace, language_model: Any
) -> None:
    for kind, rule in (("agent_log", "all"), ("conversation", "last")):
        file = io.BytesIO(lines([talk(1)]))
        file.name = "x.jsonl"
        form = {"kind": kind, "decision_rule": "", "name": kind, "file": file}
        client_of(cast.tina).post(reverse("datasets:batch_new"), form)
        assert Batch.objects.get(name=kind).decision_rule == rule


def test_counting_in_a_job_of_its_own_is_taken_once(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftportal.datasets import reading
    from tests.ftportal.house import engine_run

    monkeypatch.setattr(reading, "SMALL_BYTES", 1)
    odd = talk(1, chat_template_kwargs={"enable_thinking": False})
    batch = upload(lines([odd, talk(2), talk(3)]))
    reading.reading_finish(engine_run(batch))
    batch.refresh_from_db()
    assert batch.state == BatchState.COUNTING and batch.read_path.is_file()
    counting = engine_run(batch)
    for _ in range(2):  # a follow-up may come again
        reading.reading_finish(counting)
        batch.refresh_from_db()
        assert (batch.state, batch.problem_count) == (BatchState.REFUSED, 1)
        assert batch.problems.count() == 1 and batch.report["counted"] == 2


def test_examples_that_a_session_would_cut_are_said(
    ready: Batch, client_of: Any, cast: SimpleNamespace
) -> None:
    ready.report["length_histogram"] = {"2048": 5, "4096": 2, "8192": 1}
    ready.save()
    page = client_of(cast.otto).get(reverse("datasets:batch", args=[ready.pk])).content.decode()
    assert "3 examples have 4,096 tokens or more" in page


LOOPS_AT_A_WORD = (
    "{% if 'question 1' in messages[0].content %}{% for a in range(99999) %}"
    "{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}"
)


def test_a_template_that_loops_ends_the_reading_and_stops_no_page(
    upload: Upload, ready: Batch, client_of: Any, cast: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loops at what no trial at registration says: the reading and the page are on their own."""
    from corpus import confined, templates
    from engine.process import BAD_INPUT
    from ftportal.jobs.registry import kind_of

    directory = ready.language_model.pretrained.directory
    (directory / "chat_template.jinja").write_text(LOOPS_AT_A_WORD + CHAT_TEMPLATE)
    monkeypatch.setattr(confined, "_idle", [])
    monkeypatch.setattr(confined, "SHOW_SECONDS", 2.0)
    began = time.monotonic()
    page = client_of(cast.tina).get(reverse("datasets:batch", args=[ready.pk]))
    assert page.status_code == 200
    assert "This page cannot be shown: chat_template.jinja: was given up" in page.content.decode()
    assert time.monotonic() - began < 8

    monkeypatch.setattr(templates, "RENDER_SECONDS", 0.5)
    job = upload(lines([talk(1), talk(2)]), name="Other").job
    assert job is not None
    job.directory.mkdir(parents=True)
    told = kind_of(job.kind).config(job)
    (job.directory / "config.json").write_text(json.dumps(told))
    assert ingestion_main([str(job.directory)]) == BAD_INPUT
    events = (job.directory / "attempts" / "0" / "events.jsonl").read_text().splitlines()
    assert json.loads(events[-1])["where"] == "chat template"
