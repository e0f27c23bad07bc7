"""The formats, and what is wrong with an example that is refused."""

import json
from typing import Any

import pytest

from corpus.examples import ToolCall, decisions_mark, example_from_json
from corpus.formats import example_parse
from corpus.jsontext import ExampleError

CALL: dict[str, Any] = {"name": "sky", "arguments": {"city": "Köln"}}


def test_messages_with_tools() -> None:
    example = example_parse(
        {
            "messages": [
                {"role": "developer", "content": [{"type": "text", "text": "Be "}, "brief."]},
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "content": None, "tool_calls": [{"function": CALL}]},
                {"role": "tool", "name": "sky", "tool_call_id": "1", "content": "rain"},
                {"role": "assistant", "content": "Rain."},
            ]
        }
    )
    assert [turn.role for turn in example.turns] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert example.turns[0].content == "Be brief."
    assert example.turns[2].tool_calls == (ToolCall(**CALL),)
    assert example.turns[3].name == "sky"
    assert example.format == "messages"


def test_sharegpt_gives_the_same_example_as_messages() -> None:
    sharegpt = example_parse(
        {
            "system": "Be brief.",
            "conversations": [
                {"from": "human", "value": "Weather?"},
                {"from": "function_call", "value": json.dumps(CALL)},
                {"from": "observation", "value": "rain"},
                {"from": "gpt", "value": "Rain."},
            ],
            "tools": json.dumps([{"name": "sky"}]),
        }
    )
    chat = example_parse(
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "content": "rain"},
                {"role": "assistant", "content": "Rain."},
            ],
            "tools": [{"name": "sky"}],
        }
    )
    assert sharegpt.turns == chat.turns
    assert sharegpt.sha256() == chat.sha256()


def test_prompt_and_completion_as_text_or_messages() -> None:
    plain = example_parse({"prompt": "2+2", "completion": "4"})
    listed = example_parse(
        {
            "prompt": [{"role": "user", "content": "2+2"}],
            "completion": [{"role": "assistant", "content": "4"}],
        }
    )
    assert plain.turns == listed.turns


def test_a_trajectory_keeps_its_turns_only() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    example = example_parse({"task_id": 1, "reward": 0.0, "traj": turns, "info": {}})
    assert example.format == "traj"
    assert len(example.turns) == 2


def test_an_example_survives_being_written_and_read() -> None:
    example = decisions_mark(
        example_parse({"messages": [{"role": "user", "content": "x"}, _answer(tool_calls=[CALL])]}),
        "all",
    )
    again = example_from_json(json.loads(json.dumps({"line": 1, **example.to_json()})))
    assert again.turns == example.turns
    assert again.sha256() == example.sha256()


def test_marks_do_not_change_an_examples_hash() -> None:
    turns = [{"role": "user", "content": "x"}, _answer()]
    marked = [turns[0], {**turns[1], "train": False}]
    assert example_parse({"messages": turns}).sha256() == example_parse({"traj": marked}).sha256()


def test_openai_weights_are_marks() -> None:
    example = example_parse({"messages": [{"role": "user", "content": "x"}, _answer(weight=0)]})
    assert example.turns[1].train is False


def _answer(**more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "y", **more}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([], "not a JSON object"),
        ({"note": "x"}, "no conversation found"),
        ({"messages": []}, "empty"),
        ({"messages": 5}, "not a list"),
        ({"messages": ["x"]}, "turn 1 is not a JSON object"),
        ({"messages": [{"role": "alien", "content": "x"}]}, 'unknown role "alien"'),
        ({"messages": [{"content": "x"}]}, "unknown role null"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "unknown role"),
        ({"messages": [{"role": "user", "content": 5}]}, "no text content"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, 'type "image"'),
        ({"messages": [{"role": "user", "content": "x", "train": True}]}, "marked to be learnt"),
        ({"messages": [_answer(train="yes")]}, "learnt or it is not"),
        ({"messages": [_answer(tool_calls=[{"x": 1}])]}, "no function name"),
        ({"messages": [_answer(tool_calls=5)]}, "tool_calls is not a list"),
        ({"messages": [_answer(tool_calls="x")]}, "tool_calls, as text: not JSON"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "NUL"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "surrogate"),
        ({"messages": [_answer(), _answer()], "tools": "{"}, "not JSON"),
        ({"messages": [_answer()], "tools": "{}x"}, "not JSON"),
        ({"conversations": [{"from": "alien", "value": "x"}]}, "unknown role"),
        ({"conversations": [{"from": "function_call", "value": "{}"}]}, "no function name"),
        ({"prompt": 1, "completion": "x"}, "not text"),
    ],
)
def test_it_says_what_is_wrong(record: Any, message: str) -> None:
    with pytest.raises(ExampleError, match=message) as caught:
        example_parse(record)
    assert caught.value.cure.endswith(".")


def test_an_empty_turn_is_not_learnt() -> None:
    example = example_parse({"messages": [{"role": "user", "content": "x"}, _answer(content=" ")]})
    with pytest.raises(ExampleError, match="turn 2 is to be learnt but is empty"):
        decisions_mark(example, "last")
