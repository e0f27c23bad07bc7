"""Which turns are learnt, and which result belongs to which call."""

import json
from typing import Any

import pytest

from corpus.examples import decisions_mark
from corpus.fields import Account
from corpus.formats import LeftOutError, record_parse
from corpus.jsontext import ExampleError

USER = {"role": "user", "content": "q"}


def answer(text: str = "a", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def call(name: str = "look", arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def learnt(record: Any, rule: str = "all") -> list[str]:
    example = decisions_mark(record_parse(record).example, rule)
    return [turn.content for turn in example.turns if turn.train]


@pytest.mark.parametrize(
    "mark", ["weight", "train", "trainable", "training", "loss", "loss_mask", "loss_weight"]
)
@pytest.mark.parametrize("value", [0, 0.0, False, "0", "false"])
def test_a_turn_that_is_marked_off_is_never_learnt(mark: str, value: Any) -> None:
    record = {"messages": [USER, answer("bad", **{mark: value}), USER, answer("good")]}
    assert learnt(record) == ["good"]
    assert learnt(record, "last") == ["good"]


@pytest.mark.parametrize("name", ["loss_mask", "train_mask", "loss_weights", "weights"])
def test_a_list_beside_the_turns_marks_them(name: str) -> None:
    turns = [USER, answer("bad"), USER, answer("good")]
    assert learnt({"conversations": turns, name: [0, 0, 0, 1]}) == ["good"]
    with pytest.raises(ExampleError, match="3 marks for 4 turns"):
        record_parse({"messages": turns, name: [0, 0, 1]})


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ({"train": True, "weight": 0}, "marks disagree"),
        ({"loss": 1, "loss_mask": "0"}, "marks disagree"),
        ({"weight": 0.5}, "weight is 0.5"),
        ({"train": "perhaps"}, 'train is "perhaps"'),
        ({"loss": 2}, "loss is 2"),
    ],
)
def test_marks_that_cannot_be_honoured_are_refused(marks: Any, message: str) -> None:
    with pytest.raises(ExampleError, match=message):
        record_parse({"messages": [USER, answer(**marks)]})


def test_a_record_that_says_so_is_left_out() -> None:
    with pytest.raises(LeftOutError, match="its weight is 0"):
        record_parse({"messages": [USER, answer()], "weight": 0})


def notices(messages: list[Any], **more: Any) -> list[tuple[str, str]]:
    account: Account = record_parse({"messages": messages, **more}).account
    return [(one.kind, one.where) for one in account.notices]


def result(text: str, call_id: str | None = None) -> dict[str, Any]:
    return {"role": "tool", "content": text, **({"tool_call_id": call_id} if call_id else {})}


TWO_CALLS = answer("", tool_calls=[call("time", id="t"), call("rain", id="r")])


def test_results_take_the_order_of_their_calls() -> None:
    record = {"messages": [USER, TWO_CALLS, result("wet", "r"), result("noon", "t"), answer()]}
    parsed = record_parse(record)
    assert [turn.content for turn in parsed.example.turns[2:4]] == ["noon", "wet"]
    assert [one.kind for one in parsed.account.notices] == ["results_reordered"]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER, result("x"), answer()], [("result_without_call", "turn 2")]),
        ([USER, TWO_CALLS, USER, answer()], [("call_without_result", "turn 2")] * 2),
        ([USER, TWO_CALLS, result("noon", "t"), answer()], [("call_without_result", "turn 2")]),
        (
            [USER, answer("", tool_calls=[call(id="c")]), result("x", "other"), answer()],
            [("unknown_call_id", "turn 3"), ("call_without_result", "turn 2")],
        ),
        (
            [USER, answer("", tool_calls=[call()]), result("x"), result("y"), answer()],
            [("result_without_call", "turn 4")],
        ),
        (
            [USER, answer("", tool_calls=[call(arguments="[1]")])],
            [("arguments_not_object", "turn 2")],
        ),
        (
            [USER, answer("", tool_calls=[call(arguments={"x": None})])],
            [("null_argument", "turn 2")],
        ),
        ([USER, TWO_CALLS], []),  # what an example ends with needs no result
    ],
)
def test_what_does_not_fit_is_noted_by_turn(messages: Any, expected: Any) -> None:
    assert notices(messages) == expected


def test_two_calls_in_a_row_share_their_results() -> None:
    turns = [
        {"from": "human", "value": "q"},
        {"from": "function_call", "value": json.dumps({"name": "a", "arguments": {}})},
        {"from": "function_call", "value": json.dumps({"name": "b", "arguments": {}})},
        {"from": "observation", "value": "1"},
        {"from": "observation", "value": "2"},
        {"from": "gpt", "value": "done"},
    ]
    assert record_parse({"conversations": turns}).account.notices == []


def test_a_tool_that_is_not_offered_is_noted() -> None:
    offered = [{"type": "function", "function": {"name": "other"}}]
    messages = [USER, answer("", tool_calls=[call("look")])]
    assert notices(messages, tools=offered) == [("tool_not_offered", "turn 2")]
    old = [{"name": "look", "parameters": {"type": "object"}}]
    assert notices(messages, functions=old) == []
    (tool,) = record_parse({"messages": messages, "functions": old}).example.tools
    assert tool == {"type": "function", "function": old[0]}


def test_a_null_argument_never_becomes_a_word() -> None:
    messages = [USER, answer("", tool_calls=[call(arguments='{"city": "Ulm", "unit": null}')])]
    (made,) = record_parse({"messages": messages}).example.turns[1].tool_calls
    assert made.arguments == {"city": "Ulm"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('{"x": ', "not a JSON object"),
        ("[1, 2]", "not a JSON object"),
        ('{"x": NaN}', "NaN"),
        ('{"x": 1e400}', "1e400"),
        ('{"x": 1, "x": 2}', "twice"),
    ],
)
def test_arguments_that_cannot_be_learnt_are_refused(arguments: str, message: str) -> None:
    with pytest.raises(ExampleError, match=message):
        learnt({"messages": [USER, answer("", tool_calls=[call(arguments=arguments)])]})


def test_ids_of_calls_do_not_change_the_hash() -> None:
    plain = [USER, answer("", tool_calls=[call()]), result("x"), answer()]
    named = [USER, answer("", tool_calls=[call(id="c")]), result("x", "c"), answer()]
    hashes = {record_parse({"messages": turns}).example.sha256() for turns in (plain, named)}
    assert len(hashes) == 1
