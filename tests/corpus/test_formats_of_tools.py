"""The formats of other tools: each is read into the turns that it says, or asked about."""

import json
from typing import Any

import pytest

from corpus.examples import TEXT, decisions_mark
from corpus.formats import LeftOutError, Reading, UnknownFormatError, record_parse
from corpus.formats.mapping import ColumnMapping
from corpus.formats.preference import PreferenceError
from corpus.jsontext import ExampleError


def turns_of(record: Any, **reading: Any) -> list[tuple[str, str]]:
    return [(t.role, t.content) for t in record_parse(record, Reading(**reading)).example.turns]


TALK = [("user", "q"), ("assistant", "a")]


CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SHAREGPT = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
GEMINI = [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"messages": CHAT}, "messages"),
        ({"messages": json.dumps(CHAT)}, "messages"),
        ({"messages": GEMINI}, "messages"),
        ({"conversations": [CHAT[0], SHAREGPT[1]]}, "conversations"),
        ({"conversation": SHAREGPT}, "conversations"),
        ({"prompt": "q", "completion": "a"}, "prompt_completion"),
        ({"prompt": "q", "response": "a"}, "prompt_response"),
        ({"instruction": "q", "input": "", "output": "a"}, "alpaca"),
        ({"history": CHAT, "trajectory": [1]}, "traj"),
    ],
)
def test_formats_are_recognised(record: Any, name: str) -> None:
    parsed = record_parse(record)
    assert parsed.example.format == name
    assert turns_of(record) == TALK
    assert not parsed.account.unused


def test_alpaca_with_input_and_history() -> None:
    record = {"instruction": "Add.", "input": "1 2", "output": "3", "history": [["hi", "yo"]]}
    assert turns_of(record) == [
        ("user", "hi"),
        ("assistant", "yo"),
        ("user", "Add.\n\n1 2"),
        ("assistant", "3"),
    ]


def test_plain_text_is_learnt_as_a_whole_and_says_so() -> None:
    parsed = record_parse({"text": "A page."})
    (turn,) = decisions_mark(parsed.example, "last").turns
    assert (turn.role, turn.content, turn.train) == (TEXT, "A page.", True)
    assert [one.kind for one in parsed.account.notices] == ["whole_text"]


NINE = {"type": "text", "text": "9"}


def test_anthropic_blocks() -> None:
    record = {
        "system": [{"type": "text", "text": "Calm."}],
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
        "messages": [
            {"role": "user", "content": "Rain?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Look first.", "signature": "x"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "t", "name": "look", "input": {"city": "Ulm"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t",
                        "content": [{"type": "text", "text": "9"}],
                    },
                    {"type": "text", "text": "So?"},
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "Dry."}]},
        ],
    }
    parsed = record_parse(record)
    example = parsed.example
    assert [turn.role for turn in example.turns] == [
        *("system", "user", "assistant", "tool", "user", "assistant")
    ]
    called = example.turns[2]
    assert called.reasoning == "Look first."
    assert called.tool_calls[0].arguments == {"city": "Ulm"}
    assert example.turns[3].content == "9"
    assert example.tools[0]["function"]["parameters"] == {"type": "object"}
    assert not parsed.account.unused and not parsed.account.notices


DPO = {
    "conversations": [
        {"from": "human", "value": "a"},
        {"from": "gpt", "value": "EARLIER"},
        {"from": "human", "value": "b"},
    ],
    "chosen": {"from": "gpt", "value": "GOOD"},
    "rejected": {"from": "gpt", "value": "BAD"},
}


def test_preference_data_is_asked_about_and_only_the_chosen_answer_is_learnt() -> None:
    with pytest.raises(PreferenceError, match="DPO"):
        record_parse(DPO)
    example = decisions_mark(record_parse(DPO, Reading(preference="chosen")).example, "all")
    assert [turn.content for turn in example.turns if turn.train] == ["GOOD"]
    assert "BAD" not in str(example)


def test_chosen_conversations_that_repeat_the_prompt() -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}]
    worse = [turns[0], {"role": "assistant", "content": "bad"}]
    record = {"prompt": "q", "chosen": turns, "rejected": worse}
    assert turns_of(record, preference="chosen") == [("user", "q"), ("assistant", "good")]
    other = {**record, "prompt": "something else"}
    with pytest.raises(ExampleError, match="begins with something else"):
        turns_of(other, preference="chosen")


def test_labelled_answers() -> None:
    good, bad = ({"prompt": "q", "completion": "a", "label": label} for label in (True, False))
    with pytest.raises(PreferenceError, match="KTO"):
        record_parse(bad)
    assert turns_of(good, preference="chosen") == TALK
    with pytest.raises(LeftOutError, match="labelled bad"):
        turns_of(bad, preference="chosen")


def test_columns_are_mapped_by_hand() -> None:
    record = {"question": "q", "answer": "a", "thoughts": "hm", "ok": "1", "points": "0.5", "x": 1}
    with pytest.raises(UnknownFormatError, match="answer, ok, points, question, thoughts, x"):
        record_parse(record)
    columns = ColumnMapping.from_json(
        {
            "question": "user",
            "answer": "assistant",
            "thoughts": "reasoning",
            "ok": "mark",
            "points": "outcome",
        }
    )
    parsed = record_parse(record, Reading(columns=columns))
    assert turns_of(record, columns=columns) == TALK
    assert parsed.example.turns[1].reasoning == "hm"
    assert parsed.example.outcome == {"points": 0.5}
    assert set(parsed.account.unused) == {"x"}
    with pytest.raises(LeftOutError):
        turns_of({**record, "ok": "0"}, columns=columns)
    with pytest.raises(ExampleError, match="assistant's column is empty"):
        turns_of({**record, "answer": None}, columns=columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [({}, "at least one"), ({"a": "user"}, "no column is the assistant"), ({"a": "x"}, "'x'")],
)
def test_a_mapping_that_learns_nothing_is_refused(columns: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ColumnMapping.from_json(columns)
