"""Votes as data, and a batch of the chosen answers."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from ftportal.audit.models import AuditEntry
from ftportal.datasets.models import Batch, BatchState
from ftportal.datasets.questions import questions_of
from ftportal.datasets.reading import reading_finish
from ftportal.datasets.services import prompt_set_create
from ftportal.reviews.judging.exports import chosen_answers
from ftportal.reviews.models import Generation, SpotCheck
from ftportal.reviews.policy import STRICT
from ftportal.reviews.services import (
    ReviewRefusedError,
    chosen_batch_make,
    review_policy_set,
    spot_check_decide,
    vote_cast,
)
from ftportal.reviews.services.policies import FIELDS as POLICY_FIELDS
from ftportal.reviews.sides import candidate_is_left
from tests.ftportal.house import check_make, engine_run
from tests.tiny_model import tiny_tokenizer_write

PLAINLY = "Say it plainly, é <b>, so that all in the room can follow."


def url(name: str, check: SpotCheck) -> str:
    return reverse(f"reviews:{name}", args=[check.pk])


def said(item: Any, reviewer: Any, preferred: str, defect: str = "", **words: str) -> None:
    """Vote for the candidate, the baseline or neither; `defect` names whose answer is bad."""
    left = "candidate" if candidate_is_left(item, reviewer) else "baseline"
    side_of = {left: "left", ({"candidate", "baseline"} - {left}).pop(): "right"}
    marked = {}
    if defect:
        side = side_of[defect]
        marked = {f"{side}_defective": True, f"{side}_reason": "wrong", f"{side}_category": "fact"}
    vote_cast(
        item=item,
        reviewer=reviewer,
        preference=side_of.get(preferred, preferred),
        **marked,  # type: ignore[arg-type]
        **words,  # type: ignore[arg-type]
    )


@pytest.fixture
def check(pair: SimpleNamespace, cast: Any) -> SpotCheck:
    """Seven prompts, judged in all ways; decided by Rosa."""
    check = check_make(pair.candidate, pair.baseline, prompts=7)
    items = list(check.items.all())
    said(items[0], cast.rob, "candidate")
    said(items[1], cast.rob, "baseline", defect="candidate", note="clear")
    said(items[2], cast.rob, "candidate", defect="candidate")
    said(items[3], cast.rob, "tie")
    said(items[4], cast.rob, "both_bad", corrected_answer=PLAINLY)
    said(items[5], cast.rob, "candidate")
    said(items[6], cast.rob, "baseline", corrected_answer="Better than both.")
    Generation.objects.filter(
        generation_set=check.candidate_answers, prompt=items[5].prompt
    ).update(finish_reason="length")
    return check


@pytest.fixture
def decided(check: SpotCheck, cast: Any) -> SpotCheck:
    return spot_check_decide(
        spot_check=check, decided_by=cast.rosa, approve=False, reason="not yet"
    )


def lines_of(client: Any, check: SpotCheck) -> list[dict[str, Any]]:
    answer = client.get(url("votes_jsonl", check))
    assert answer.status_code == 200
    text = b"".join(answer.streaming_content).decode()
    return [json.loads(line) for line in text.splitlines()]


def test_votes_leave_only_a_decided_check(client_of: Any, cast: Any, check: SpotCheck) -> None:
    assert client_of(cast.rob).get(url("votes_jsonl", check)).status_code == 404
    page = client_of(cast.tina).get(url("spot_check", check)).content.decode()
    assert url("votes_jsonl", check) not in page
    with pytest.raises(ReviewRefusedError, match="once the spot-check is decided"):
        chosen_batch_make(spot_check=check, made_by=cast.tina)
    assert not Batch.objects.exists()


def test_every_vote_is_a_line_with_its_sides_resolved(
    client_of: Any, cast: Any, decided: SpotCheck
) -> None:
    lines = lines_of(client_of(cast.otto), decided)
    assert [line["preferred"] for line in lines] == [
        *("candidate", "baseline", "candidate", "tie", "both_bad", "candidate", "baseline")
    ]
    assert lines[0]["candidate"]["checkpoint"] == "Zebra nine"
    assert lines[0]["candidate"]["text"] != lines[0]["baseline"]["text"]
    assert lines[0]["prompt"][-1]["role"] == "user"
    assert lines[1]["candidate_defect"] == {"category": "fact", "reason": "wrong"}
    assert lines[1]["baseline_defect"] is None
    assert lines[1]["note"] == "clear"
    assert lines[4]["corrected_answer"] == PLAINLY
    assert lines[5]["candidate"]["finish_reason"] == "length"
    assert {line["decision"] for line in lines} == {"rejected"}


def test_reviewers_have_pseudonyms(client_of: Any, cast: Any, decided: SpotCheck) -> None:
    named = lines_of(client_of(cast.otto), decided)
    assert {line["reviewer"] for line in named} == {"Rob"}
    strict = {name: getattr(STRICT, name) for name in POLICY_FIELDS}
    review_policy_set(actor=cast.ada, **strict)
    lines = lines_of(client_of(cast.otto), decided)
    names = {line["reviewer"] for line in lines}
    assert len(names) == 1
    assert "rob" not in names.pop().removeprefix("reviewer-").lower()
    assert "Rob" not in json.dumps(lines)


def test_corrected_answers_come_before_preferred_ones(decided: SpotCheck) -> None:
    chosen = chosen_answers(decided)
    answers = [one["messages"][-1]["content"] for one in chosen.corrected]
    assert answers == [PLAINLY, "Better than both."]
    assert len(chosen.preferred) == 2
    assert chosen.preferred[0]["messages"][-1]["role"] == "assistant"
    assert chosen.left_out == [
        "1 where neither answer won",
        "1 where the better answer is defective",
        "1 where the better answer was cut",
    ]


def test_the_chosen_answers_become_a_batch_that_is_read_like_any(
    client_of: Any, cast: Any, decided: SpotCheck
) -> None:
    client = client_of(cast.tina)
    page = client.get(url("spot_check", decided)).content.decode()
    assert "4 answers can become a batch to learn from: 2 corrected, 2 preferred." in page
    answer = client.post(url("chosen_batch", decided))
    batch = Batch.objects.get()
    asked = [{"group": "code", "messages": [{"role": "user", "content": PLAINLY}]}]
    prompt_set_create(name="Measures too", prompts=asked)
    tiny_tokenizer_write(decided.baseline.directory)
    assert answer.url == reverse("datasets:batch", args=[batch.pk])
    assert "2 corrected and 2 preferred answers" in batch.origin
    assert "prompts “Set" in batch.origin
    assert AuditEntry.objects.filter(action="review.batch_made").count() == 1
    reading_finish(engine_run(batch))
    batch.refresh_from_db()
    assert batch.state == BatchState.ASKING
    assert batch.report["example_count"] == 4
    keys = {question.key for question in questions_of(batch)}
    assert "contamination" in keys  # one of its answers also measures
    again = client.post(url("chosen_batch", decided), follow=True).content.decode()
    assert "This very file is there already" in again
    assert Batch.objects.count() == 1


def test_who_may_make_the_batch(client_of: Any, cast: Any, decided: SpotCheck) -> None:
    assert client_of(cast.rob).post(url("chosen_batch", decided)).status_code == 403
    page = client_of(cast.rob).get(url("spot_check", decided)).content.decode()
    assert "A trainer can make the batch." in page
    assert not Batch.objects.exists()
