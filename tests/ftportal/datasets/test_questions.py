"""What a batch asks before it is ready, what the answers do, and new versions."""

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.files import File
from django.urls import reverse
from django.utils import timezone

from ftportal.datasets.models import Batch, BatchState
from ftportal.datasets.questions import questions_of
from ftportal.datasets.services import (
    DatasetError,
    batch_answer,
    batch_good_only,
    batch_version,
    held_out_set_create,
    refused_files_drop,
)
from ftportal.datasets.uploads import UploadRefusedError

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
Upload = Callable[..., Batch]
Read = Callable[[Batch], Batch]


def lines(records: list[Any]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def talk(number: int, **more: Any) -> dict[str, Any]:
    """A conversation that is not held out for any number below 12."""
    answer = {"role": "assistant", "content": f"answer {number}"}
    return {"messages": [{"role": "user", "content": f"question {number}"}, answer], **more}


def keys(batch: Batch) -> list[str]:
    return [question.key for question in questions_of(batch)]


def test_a_field_that_is_not_used_is_asked_about(upload: Upload, read: Read) -> None:
    batch = read(upload(lines([talk(1, mood="calm"), talk(2), talk(3, id=7)])))
    assert batch.state == BatchState.ASKING
    (question,) = questions_of(batch)
    assert (question.key, question.title) == ("field:mood", "mood is not used")
    assert 'in 1 of 3 examples, such as "calm"' in question.text
    batch = batch_answer(batch=batch, accepted=["field:mood"])
    assert batch.state == BatchState.READY
    assert batch.example_count == 3 and batch.examples_path.is_file()


def test_nothing_is_asked_where_everything_is_known(upload: Upload, read: Read) -> None:
    batch = read(upload(lines([talk(1, id=1, source="x"), talk(2)])))
    assert batch.state == BatchState.READY
    assert batch.report["metadata"] == {"id": 1, "source": 1}


def test_every_question_needs_its_answer(upload: Upload, read: Read) -> None:
    unanswered = [{"role": "tool", "content": "42"}, {"role": "assistant", "content": "b"}]
    turns = [{"role": "user", "content": "q"}, *unanswered]
    batch = read(upload(lines([{"messages": turns, "mood": 1}, talk(1)])))
    assert keys(batch) == ["field:mood", "notice:result_without_call"]
    (row,) = questions_of(batch)[1].rows
    assert row[:2] == [1, "turn 2"]
    batch = batch_answer(batch=batch, accepted=["field:mood", "field:invented"])
    assert (batch.state, keys(batch)) == (BatchState.ASKING, ["notice:result_without_call"])
    assert batch_answer(batch=batch, accepted=keys(batch)).state == BatchState.READY
    with pytest.raises(DatasetError, match="any more"):
        batch_answer(batch=batch, accepted=[])


def test_preference_data_is_learnt_only_where_somebody_says_so(upload: Upload, read: Read) -> None:
    pairs = [{"prompt": f"q {n}", "chosen": f"good {n}", "rejected": "bad"} for n in range(4)]
    batch = read(upload(lines(pairs)))
    assert batch.state == BatchState.ASKING
    assert keys(batch) == ["preference"]
    batch = read(batch_answer(batch=batch, options={"preference": "chosen"}))
    assert batch.state == BatchState.READY
    assert batch.format == "dpo"
    assert b"bad" not in batch.examples_path.read_bytes()


def test_columns_are_mapped_and_remembered(
    upload: Upload, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    table = b"question,answer,mood\n" + b"".join(b"q%d,a%d,calm\n" % (n, n) for n in range(6))
    batch = read(upload(table, file=File(io.BytesIO(table), name="talks.csv")))
    assert keys(batch) == ["columns"]
    client = client_of(cast.tina)
    page = client.get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    assert 'name="column:question"' in page and "q0" in page
    columns = {"column:question": "user", "column:answer": "assistant", "column:mood": "aside"}
    address = reverse("datasets:columns_preview", args=[batch.pk])
    preview = client.post(address, columns).content.decode()
    assert preview.count("<article") == 3 and "a2" in preview
    assert (
        "no column is the user"
        in client.post(address, {"column:answer": "assistant"}).content.decode()
    )
    client.post(reverse("datasets:batch_answer", args=[batch.pk]), columns)
    batch.refresh_from_db()
    assert read(batch).state == BatchState.READY
    other = File(io.BytesIO(table.replace(b"q0", b"other")), name="other.csv")
    again = read(upload(b"", file=other))
    page = client.get(reverse("datasets:batch", args=[again.pk])).content.decode()
    assert "Filled in as for the last file" in page
    assert '<option value="aside" selected>' in page


def test_the_good_lines_are_imported_on_request(
    upload: Upload, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    batch = read(upload(lines([talk(1), talk(2)]) + b"not JSON\nnor this\n" + lines([talk(3)])))
    assert batch.state == BatchState.REFUSED
    client = client_of(cast.tina)
    page = client.get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    assert "Import the 3 good ones" in page and "3, 4" in page
    assert (
        client_of(cast.otto).post(reverse("datasets:import_good", args=[batch.pk])).status_code
        == 403
    )
    client.post(reverse("datasets:import_good", args=[batch.pk]))
    batch.refresh_from_db()
    assert (batch.state, batch.example_count, batch.problem_count) == (BatchState.READY, 3, 2)
    page = client.get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    assert "2 problems; left out" in page
    with pytest.raises(DatasetError, match="Nothing of it"):
        batch_good_only(batch=batch)


def test_problems_download_as_csv_without_formulas(
    upload: Upload, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    batch = read(upload(b"=1+1\n"))
    address = reverse("datasets:problems_csv", args=[batch.pk])
    text = client_of(cast.otto).get(address).content.decode()
    head, row = csv.reader(io.StringIO(text))
    assert head == ["line", "problem", "what to do", "text"]
    assert row[0] == "1" and row[3] == "'=1+1"


def test_an_upload_that_mends_keeps_name_and_choices(
    upload: Upload, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    batch = read(upload(b"x", name="Night", kind="agent_log", decision_rule="all"))
    client = client_of(cast.tina)
    page = client.get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    address = f"{reverse('datasets:batch_new')}?mends={batch.pk}"
    assert address in page
    form = client.get(address).content.decode()
    assert 'value="Night"' in form
    assert 'value="agent_log" required checked' in form
    assert 'value="all" checked' in form


def test_a_batch_that_trains_nothing_is_refused(upload: Upload, read: Read) -> None:
    held_out = next(talk(n) for n in range(12, 400) if _is_held_out(talk(n)))
    batch = read(upload(lines([held_out])))
    assert batch.state == BatchState.REFUSED
    assert "held out" in batch.problems.get().message
    off = {"role": "assistant", "content": "a", "weight": 0}
    left = read(upload(lines([{"messages": [{"role": "user", "content": "q"}, off]}])))
    assert left.state == BatchState.REFUSED
    assert "no decision tokens" in left.problems.get().message


def _is_held_out(record: Any) -> bool:
    from corpus.formats import example_parse
    from corpus.ingestion import is_held_out

    return is_held_out(example_parse(record).sha256())


def test_a_version_learns_only_what_succeeded(
    upload: Upload, read: Read, cast: SimpleNamespace
) -> None:
    records = [talk(n, reward=float(n % 2)) for n in range(1, 9)]
    records.append(talk(9))  # a plain line, which says nothing of its outcome
    batch = read(upload(lines(records), kind="agent_log"))
    assert batch.report["outcomes"] == {"reward": {"0": 4, "1": 4}}
    made = batch_version(
        batch=batch,
        made_by=cast.tina,
        reason="Only successes.",
        options={"outcome_least": {"reward": 1.0}},
    )
    made = read(made)
    assert (made.state, made.version, str(made)) == (BatchState.READY, 2, "Talks, version 2")
    assert made.example_count == 4
    assert made.report["left_out"] == {"reward below 1": 5}
    assert made.version_of == batch
    with pytest.raises(UploadRefusedError, match="there already"):
        batch_version(
            batch=batch,
            made_by=cast.tina,
            reason="Again.",
            options={"outcome_least": {"reward": 1.0}},
        )
    with pytest.raises(DatasetError, match="needs a reason"):
        batch_version(batch=batch, made_by=cast.tina, reason=" ")


def test_a_version_covers_personal_data(upload: Upload, read: Read, cast: SimpleNamespace) -> None:
    record = talk(1)
    record["messages"][0]["content"] = "I am jo.doe@firma.de, card 4111 1111 1111 1111"
    batch = read(upload(lines([record, talk(2)])))
    made = read(
        batch_version(batch=batch, made_by=cast.tina, reason="Privacy.", options={"redact": True})
    )
    text = made.examples_path.read_text()
    assert "I am [email], card [card]" in text
    assert "firma" not in text


def test_refused_files_go_after_a_week(upload: Upload, read: Read) -> None:
    batch = read(upload(b"x"))
    refused_files_drop()
    assert batch.source_path.is_file()
    Batch.objects.filter(pk=batch.pk).update(refused_at=timezone.now() - timedelta(days=8))
    refused_files_drop()
    assert not batch.directory.exists()


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


def test_what_measures_is_left_out_or_kept_with_a_reason(
    upload: Upload, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    held_out_set_create(
        name="Rivers",
        domain="prose",
        source="made here",
        documents=["Which of these rivers flows through the city of Vienna before the sea"] * 3,
    )
    asked = talk(1)
    asked["messages"][0]["content"] = (
        "Say: which of these rivers flows through the city of Vienna before the sea?"
    )
    records = [talk(2), asked, talk(3)]
    batch = read(upload(lines(records)))
    assert keys(batch) == ["contamination"]
    address = reverse("datasets:batch_answer", args=[batch.pk])
    page = client_of(cast.tina).get(reverse("datasets:batch", args=[batch.pk])).content.decode()
    assert "Leave them out" in page and "Held-out text Rivers" in page
    keep = {"contamination": "keep", "reason": "A drill."}
    assert client_of(cast.tina).post(address, keep).status_code == 403
    client_of(cast.tina).post(address, {"accept_all": "yes"})
    batch.refresh_from_db()
    assert batch.state == BatchState.ASKING
    client_of(cast.tina).post(address, {"contamination": "leave_out"})
    batch.refresh_from_db()
    assert read(batch).example_count == 2
    assert list(batch.report["left_out"]) == ["it stands in what the model is measured by"]
    other = read(upload(lines([*records, talk(5, mood=1)])))
    assert keys(other) == ["contamination", "field:mood"]
    answer = reverse("datasets:batch_answer", args=[other.pk])
    client_of(cast.leo).post(answer, keep)
    other.refresh_from_db()
    assert keys(other) == ["field:mood"]  # what is not answered yet is asked on
    assert client_of(cast.leo).post(answer, {"accept_all": "yes"}).status_code == 403
    client_of(cast.tina).post(answer, {"accept_all": "yes"})
    other.refresh_from_db()
    assert (other.state, other.example_count) == (BatchState.READY, 4)
    page = client_of(cast.otto).get(reverse("datasets:batch", args=[other.pk])).content.decode()
    assert "A drill." in page
    assert "2 examples stand word for word in" in page


def test_an_example_is_left_out_by_hand(
    ready: Batch, read: Read, client_of: Any, cast: SimpleNamespace
) -> None:
    client = client_of(cast.tina)
    page = client.get(reverse("datasets:batch", args=[ready.pk])).content.decode()
    example = json.loads(ready.examples_path.read_text().split("\n")[1])
    assert f'name="leave_out" value="{example["sha256"]}"' in page
    form = {"leave_out": example["sha256"], "reason": "It is wrong."}
    client.post(reverse("datasets:version_new", args=[ready.pk]), form)
    made = read(Batch.objects.get(version_of=ready))
    assert made.example_count == 23
    assert made.report["left_out"] == {"It is wrong.": 1}
    assert example["sha256"] not in made.examples_path.read_text()


def test_what_people_write_down_is_kept_and_finds_the_batch(
    ready: Batch, client_of: Any, cast: SimpleNamespace
) -> None:
    address = reverse("datasets:batch_describe", args=[ready.pk])
    words = {"name": "Night", "origin": "our shop", "consent": "all staff", "tags": "calm, a, calm"}
    assert client_of(cast.otto).post(address, words).status_code == 403
    client_of(cast.tina).post(address, words)
    ready.refresh_from_db()
    assert (ready.name, ready.origin, ready.tag_list) == ("Night", "our shop", ["calm", "a"])
    page = client_of(cast.otto).get("/batches/?text=calm").content.decode()
    assert "Night" in page
    client_of(cast.tina).post(address, words | {"name": " "})
    ready.refresh_from_db()
    assert ready.name == "Night"


def test_a_withdrawn_batch_trains_nothing_more(
    ready: Batch, client_of: Any, cast: SimpleNamespace
) -> None:
    from ftportal.runs.services import mixture_problems

    address = reverse("datasets:batch_withdraw", args=[ready.pk])
    client = client_of(cast.tina)
    assert "needs a reason" in client.post(address, follow=True).content.decode()
    client.post(address, {"reason": "Two people said no."})
    ready.refresh_from_db()
    assert ready.withdrawn_at is not None
    (problem,) = mixture_problems(ready.language_model.pretrained, [(ready, 1.0)])
    assert "withdrawn: Two people said no." in problem.message
    page = client.get(reverse("datasets:batch", args=[ready.pk])).content.decode()
    assert "Two people said no." in page and "Train with it" not in page.split("<h2>Used")[0]
    assert (
        "withdrawn already" in client.post(address, {"reason": "x"}, follow=True).content.decode()
    )


def test_what_cannot_be_tokenised_is_left_out_of_the_good_ones(upload: Upload, read: Read) -> None:
    odd = talk(1, chat_template_kwargs={"enable_thinking": False})
    batch = read(upload(lines([odd, talk(2), talk(3)])))
    assert (batch.state, batch.good_count) == (BatchState.REFUSED, 2)
    assert "enable_thinking" in batch.problems.get().message
    batch = batch_good_only(batch=batch)
    assert (batch.state, batch.example_count, batch.held_out_count) == (BatchState.READY, 2, 0)
    assert len(batch.examples_path.read_text().splitlines()) == 2
    alone = read(upload(lines([odd])))
    with pytest.raises(DatasetError, match="Nothing of it"):
        batch_good_only(batch=alone)


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
