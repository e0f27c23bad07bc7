"""Reading an uploaded file: real files through the real command, in process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.ingestion.engine import main
from engine.process import BAD_INPUT
from tests.training.toys import conversation, events_of

GOOD = json.dumps(conversation(1))


def _calling(arguments: str) -> str:
    """An example whose answer calls a tool with these JSON members."""
    call = '{"name": "x", "arguments": {' + arguments + "}}"
    return GOOD.replace('"role": "assistant",', f'"role": "assistant", "tool_calls": [{call}],')


Ingest = Callable[..., dict[str, Any]]


@pytest.fixture
def ingest(tmp_path: Path, tiny_model_directory: Path) -> Ingest:
    """`ingest(content)`: the summary, with the problems and examples beside it."""

    def run(content: bytes | str, **changes: Any) -> dict[str, Any]:
        directory = tmp_path / f"job{len(list(tmp_path.glob('job*')))}"
        directory.mkdir()
        source = directory / "source"
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
        config = {"source": str(source), "tokenizer": str(tiny_model_directory), **changes}
        (directory / "config.json").write_text(json.dumps(config))
        assert main([str(directory)]) == 0
        output = directory / "attempts/0/output"
        result = json.loads((output / "summary.json").read_text())
        done = events_of(directory)[-1]["summary"]
        assert done == {name: result[name] for name in done}
        for name in ("problems", "examples"):
            with (output / f"{name}.jsonl").open(encoding="utf-8") as file:
                result[name] = [json.loads(line) for line in file]
        assert result["problem_count"] == len(result["problems"])
        return result

    return run


def test_it_counts_examples_turns_and_tokens(ingest: Ingest) -> None:
    result = ingest(GOOD + "\n\n" + GOOD + "\n", decision_rule="all")
    assert result["format"] == "messages"
    assert result["example_count"] == 2
    assert result["duplicate_count"] == 1
    assert result["turn_count"] == 10
    assert result["decision_count"] == 4
    answers = [m["content"] for m in conversation(1)["messages"] if m["role"] == "assistant"]
    assert result["decision_token_count"] == 2 * sum(len(text) + 1 for text in answers)
    assert [example["line"] for example in result["examples"]] == [1, 3]
    trained = [turn.get("train") for turn in result["examples"][0]["turns"]]
    assert trained == [None, None, True, None, True]


def test_an_array_gives_the_same_examples_as_lines(ingest: Ingest) -> None:
    lines = [json.dumps(conversation(number)) for number in range(5)]
    as_lines = ingest("\n".join(lines))
    as_array = ingest("\ufeff [" + ",\n".join(lines) + "]\n")
    assert [e["sha256"] for e in as_lines["examples"]] == [
        e["sha256"] for e in as_array["examples"]
    ]
    assert [e["line"] for e in as_array["examples"]] == [1, 2, 3, 4, 5]


def test_a_large_array_is_read_in_pieces(ingest: Ingest) -> None:
    record = conversation(1)
    record["ignored"] = "漢" * 500_000
    result = ingest("[" + ",".join([json.dumps(record, ensure_ascii=False)] * 3) + "]")
    assert result["example_count"] == 3
    assert result["problems"] == []


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", 0, "empty"),
        (b" \n\n", 0, "empty"),
        (GOOD.encode("utf-16"), 0, "not UTF-8"),
        (GOOD.encode() + b'\n{"messages": "\xe9"}', 0, "line 2 has byte 0xe9"),
        (b"[" + GOOD.encode() + b', "\xe9"]', 0, "not UTF-8"),
        (GOOD + "\nhello", 2, "not JSON"),
        (GOOD + "\n" + "[" * 400_000, 2, "nested"),
        ("[" * 400_000, 1, "nested"),
        (GOOD + "\n" + '{"a":' * 80_000, 2, "nested"),
        (GOOD + '\n{"messages":' + "[" * 900 + "]" * 900 + "}", 2, "nested"),
        (GOOD.replace("Be", "B\\u0000"), 1, "NUL"),
        (GOOD + "\n" + GOOD.replace("Be", "B\0"), 2, "not JSON"),
        (GOOD + "\n" + GOOD.replace("user", "alien"), 2, "unknown role"),
        (GOOD + '\n{"note": "x"}', 2, "no conversation"),
        ('{"messages": [{"role": "user", "content": "x"}]}', 1, "no decision tokens"),
        (GOOD + "\n" + "x" * 5_000_000 + "\n" + GOOD, 2, "longer than the limit"),
        (f"[{GOOD},\n{GOOD}", 2, "does not end"),
        (f"[{GOOD}]\n{GOOD}", 2, "follows the end"),
        (f"[{GOOD},\n{{x}},{GOOD}]", 2, "not JSON"),
        ('{"messages": NaN}', 1, "NaN"),
        (_calling('"q": "\\ud800"'), 1, "surrogate"),
        (_calling('"q": [{"\\u0000": 1}]'), 1, "NUL"),
        (GOOD[:-1] + ', "tools": [{"name": "\\udfff"}]}', 1, "surrogate"),
        (GOOD.replace("user", "\\ud800"), 1, "unknown role"),
        ('{"\\u0000\\ud800": 1}', 1, "no conversation"),
        (json.dumps(conversation(1, decisions=500, any_side=True)), 1, "1,001 turns"),
    ],
)
def test_what_cannot_be_used_is_told_by_line(
    ingest: Ingest, content: bytes | str, line: int, message: str
) -> None:
    (problem,) = ingest(content)["problems"]
    assert problem["line"] == line
    assert message in problem["message"]
    assert problem["cure"]


def test_limits_can_be_lowered(ingest: Ingest) -> None:
    many = "\n".join([GOOD] * 5)
    (problem,) = ingest(many, limits={"max_examples": 3})["problems"]
    assert "more than 3 examples" in problem["message"]
    (problem,) = ingest(many, limits={"max_file_bytes": 100})["problems"]
    assert "the limit is 100" in problem["message"]
    found_path = ingest("hello\n" * 3 + GOOD)
    assert found_path["problem_count"] == 3


def test_problems_past_the_limit_are_only_counted(
    tmp_path: Path, tiny_model_directory: Path
) -> None:
    (tmp_path / "source").write_text("hello\n" * 50)
    config = {
        "source": str(tmp_path / "source"),
        "tokenizer": str(tiny_model_directory),
        "limits": {"max_problems": 10},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main([str(tmp_path)]) == 0
    output = tmp_path / "attempts/0/output"
    assert json.loads((output / "summary.json").read_text())["problem_count"] == 50
    assert len((output / "problems.jsonl").read_text().splitlines()) == 10


def test_the_held_out_slice_is_stable_when_the_file_grows(ingest: Ingest) -> None:
    lines = [json.dumps(conversation(number, any_side=True)) for number in range(400)]
    tiny, small = ingest("\n".join(lines[:12])), ingest("\n".join(lines[:100]))
    large = ingest("\n".join(reversed(lines)), decision_rule="all")
    side = {example["sha256"]: example["held_out"] for example in large["examples"]}
    for earlier in (tiny, small):
        for example in earlier["examples"]:
            assert side[example["sha256"]] == example["held_out"]
    assert 3 < small["held_out_count"] < 20
    assert 25 < large["held_out_count"] < 60


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"source": "/nowhere"}, "source"),
        ({"tokenizer": "/nowhere"}, "tokenizer"),
        ({"decision_rule": "first"}, "decision_rule"),
        ({"limits": {"max_lines": 1}}, "limits.max_lines"),
        ({"limits": {"max_examples": 0}}, "limits.max_examples"),
        ({"color": "red"}, "color"),
    ],
)
def test_a_wrong_config_is_named(
    tmp_path: Path, tiny_model_directory: Path, change: dict[str, Any], where: str
) -> None:
    (tmp_path / "source").write_text(GOOD)
    config = {"source": str(tmp_path / "source"), "tokenizer": str(tiny_model_directory), **change}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main([str(tmp_path)]) == BAD_INPUT
    error = events_of(tmp_path)[-1]
    assert (error["event"], error["where"]) == ("error", where)
    assert not (tmp_path / "attempts/0/output").exists()
