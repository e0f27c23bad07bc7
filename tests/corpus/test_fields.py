"""Fields in are fields used, kept aside, empty, named or refused: nothing is passed over."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.examples import Example
from corpus.formats import LeftOutError, Reading, record_parse
from corpus.formats.mapping import ColumnMapping
from corpus.jsontext import ExampleError

USER, ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
BRIEF = {"role": "system", "content": "Be brief."}


def account_of(record: Any, **reading: Any) -> Any:
    return record_parse(record, Reading(**reading)).account


def test_an_unknown_field_is_named_with_its_value() -> None:
    account = account_of({"messages": [USER, {**ANSWER, "tone": "dry"}], "mood": "calm"})
    assert account.unused == {"messages[].tone": '"dry"', "mood": '"calm"'}


def test_metadata_and_empty_columns_need_no_question() -> None:
    record = {"messages": [USER, ANSWER], "source": "x", "id": 7, "prompt": None, "images": []}
    account = account_of(record)
    assert not account.unused
    assert account.metadata == {"source", "id"}
    assert account.empty == {"prompt", "images"}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"messages": [USER, ANSWER], "images": ["a.png"]}, "images"),
        ({"messages": [USER, {**ANSWER, "images": ["a.png"]}]}, r"messages\[\]\.images"),
        ({"messages": [USER, ANSWER], "input_ids": [1, 2]}, "token ids"),
        ({"messages": [USER, ANSWER], "label": "spam"}, "label"),
        ({"messages": [USER, ANSWER], "weight": 0.5}, "weight is 0.5"),
        ({"messages": [USER, ANSWER], "chat_template_kwargs": 5}, "not an object"),
        ({"prompt": "q", "completion": "a", "system": 5}, "system is not text"),
        (
            {"messages": [{"role": "system", "content": "A"}, USER, ANSWER], "system": "B"},
            "two system prompts",
        ),
        ({"messages": [{**USER, "value": "other"}, ANSWER]}, "say different things"),
    ],
)
def test_what_changes_the_meaning_is_refused(record: Any, message: str) -> None:
    with pytest.raises(ExampleError, match=message):
        record_parse(record)


def test_system_beside_the_turns_is_the_first_one() -> None:
    for record in (
        {"messages": [USER, ANSWER], "system": "Be brief."},
        {"prompt": "q", "completion": "a", "system": "Be brief."},
        {
            "messages": [{"role": "system", "content": "Be brief."}, USER, ANSWER],
            "system": "Be brief.",
        },
    ):
        turns = record_parse(record).example.turns
        assert [(t.role, t.content) for t in turns][:2] == [("system", "Be brief."), ("user", "q")]


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        ({"traj": [USER, ANSWER], "reward": 0.0}, {"reward": 0.0}),
        (
            {"messages": [USER, ANSWER], "success": True, "score": "0.5"},
            {"success": 1, "score": 0.5},
        ),
        ({"traj": [USER, ANSWER], "info": {"resolved": False}}, {"resolved": 0}),
    ],
)
def test_outcomes_are_read(record: Any, outcome: dict[str, float]) -> None:
    assert record_parse(record).example.outcome == outcome


def test_an_outcome_does_not_change_the_hash() -> None:
    good, bad = ({"traj": [USER, ANSWER], "reward": value} for value in (1.0, 0.0))
    assert record_parse(good).example.sha256() == record_parse(bad).example.sha256()


NAMES = st.sampled_from(
    re.findall(
        r"\w+",
        """
        messages conversations traj prompt completion response instruction input output text system
        tools functions reward label chosen rejected images id mood chat_template_kwargs weight
        loss_mask role from content value tool_calls function_call name arguments tool_call_id
        train reasoning_content type thinking question answer history info
        """,
    )
)
TEXTS = st.sampled_from(
    ["", "a", "user", "assistant", "tool", "human", "gpt", "system", "[]", '{"name": "f"}', "0"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)
TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": TEXTS},
        optional={"mood": TEXTS, "train": st.booleans(), "weight": st.integers(0, 1)},
    ),
    min_size=1,
    max_size=4,
)
RECORDS = st.dictionaries(NAMES, VALUES, max_size=6) | st.builds(
    lambda turns, more: {**more, "messages": turns},
    TURNS,
    st.dictionaries(NAMES, VALUES, max_size=3),
)
READINGS = st.sampled_from(
    [
        Reading(),
        Reading(preference="chosen"),
        Reading(columns=ColumnMapping.from_json({"question": "user", "answer": "assistant"})),
    ]
)


@pytest.mark.slow
@given(VALUES | RECORDS, READINGS)
@settings(max_examples=600, deadline=None)
def test_any_json_value_is_read_or_refused_and_every_field_is_told(
    record: Any, reading: Reading
) -> None:
    try:
        parsed = record_parse(record, reading)
    except ExampleError as error:
        assert error.message and error.cure
        return
    except LeftOutError as error:
        assert str(error)
        return
    account = parsed.account
    told = account.used | account.metadata | account.empty | set(account.unused)
    assert set(record) <= told
    for name in ("messages", "conversations", "traj"):
        turns = record.get(name)
        if name in account.used and isinstance(turns, list):
            paths = {f"{name}[].{key}" for turn in turns if isinstance(turn, dict) for key in turn}
            assert paths <= told
    assert isinstance(parsed.example, Example)
    json.dumps(parsed.example.to_json(), allow_nan=False)
