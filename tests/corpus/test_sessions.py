"""Session logs: many lines make one example, and what is not conversation is counted."""

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.formats import record_parse
from corpus.records import Record, records_read


def text(words: str, kind: str = "text") -> list[dict[str, str]]:
    return [{"type": kind, "text": words}]


def claude(kind: str, uuid: str, parent: str | None, content: Any, **message: Any) -> Any:
    told = {"role": kind, "content": content, **message}
    return {"type": kind, "uuid": uuid, "parentUuid": parent, "message": told}


USE = [{"type": "tool_use", "id": "t", "name": "Read", "input": {"path": "a"}}]
RESULT = [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]
CLAUDE = [
    {"type": "summary", "summary": "x", "leafUuid": "l"},
    claude("user", "1", None, "help me") | {"sessionId": "s"},
    claude("assistant", "2", "1", text("no"), id="m0"),
    claude("user", "3", "2", "wrong way"),
    claude("user", "4", "1", "fix it"),  # the person went back to the first line
    claude("assistant", "5", "4", text("I read."), id="m"),
    claude("assistant", "6", "5", USE, id="m"),
    claude("user", "7", "6", RESULT),
    claude("assistant", "8", "7", text("Done."), id="n"),
]


def codex(kind: str, **payload: Any) -> Any:
    return {"type": "response_item", "payload": {"type": kind, **payload}}


CODEX = [
    {"type": "session_meta", "payload": {"id": "1", "instructions": "Be a coder."}},
    codex("message", role="user", content=text("ls?", "input_text")),
    {"type": "event_msg", "payload": {"type": "token_count"}},
    codex("reasoning", summary=text("List.", "summary_text")),
    codex("function_call", name="shell", arguments='{"c": "ls"}', call_id="c"),
    codex("function_call_output", call_id="c", output="a.py"),
    codex("message", role="assistant", content=text("a.py", "output_text")),
]


def openhands(source: str, **more: Any) -> Any:
    return {"id": 0, "source": source, **more}


METADATA = {"tool_call_metadata": {"function_name": "bash", "tool_call_id": "c"}}
OPENHANDS = [
    openhands("agent", action="system", args={"content": "Be useful.", "tools": None}),
    openhands("user", action="message", args={"content": "ls?"}),
    openhands("environment", observation="agent_state_changed", content=""),
    openhands("agent", action="run", args={"command": "ls", "thought": "I list."}, **METADATA),
    openhands("agent", observation="run", content="a.py", cause=3, **METADATA),
    openhands("agent", action="message", args={"content": "a.py"}),
]


def records(directory: Path, content: str) -> list[Record]:
    path = directory / "log"
    path.write_text(content)
    return list(records_read(path, max_record_bytes=1 << 20))


def session(directory: Path, content: str) -> tuple[list[tuple[str, str]], list[str]]:
    (record,) = records(directory, content)
    parsed = record_parse(record.value())
    assert parsed.account.notices == []
    kinds = [f"{one.kind}: {one.detail}" for one in record.notices]
    return [(turn.role, turn.content) for turn in parsed.example.turns], kinds


def as_lines(lines: list[Any]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_a_claude_code_session_is_one_example(tmp_path: Path) -> None:
    turns, notices = session(tmp_path, as_lines(CLAUDE))
    assert turns == [
        ("user", "help me"),
        ("user", "fix it"),
        ("assistant", "I read."),
        ("tool", "1"),
        ("assistant", "Done."),
    ]
    assert notices == ["log_lines: 1 summary", "log_branch: 2 lines"]


def test_sessions_of_one_file_are_told_apart(tmp_path: Path) -> None:
    lines = []
    for name in ("s", "other"):
        lines.append(claude("user", f"{name}1", None, name) | {"sessionId": name})
        lines.append(claude("assistant", f"{name}2", f"{name}1", text("yes"), id=name))
    first, second = (record.value() for record in records(tmp_path, as_lines(lines)))
    assert first["messages"][0]["content"] == "s"
    assert second["messages"][0]["content"] == "other"


def test_a_codex_session_is_one_example(tmp_path: Path) -> None:
    turns, notices = session(tmp_path, as_lines(CODEX))
    assert turns == [
        ("system", "Be a coder."),
        ("user", "ls?"),
        ("assistant", ""),
        ("tool", "a.py"),
        ("assistant", "a.py"),
    ]
    assert notices == ["log_lines: 1 event_msg"]


@pytest.mark.parametrize("content", [as_lines(OPENHANDS), json.dumps(OPENHANDS)])
def test_an_openhands_log_is_one_example(tmp_path: Path, content: str) -> None:
    turns, notices = session(tmp_path, content)
    assert turns == [
        ("system", "Be useful."),
        ("user", "ls?"),
        ("assistant", "I list."),
        ("tool", "a.py"),
        ("assistant", "a.py"),
    ]
    assert notices == ["log_lines: 1 agent_state_changed"]


def test_fields_of_a_log_that_nobody_knows_are_named(tmp_path: Path) -> None:
    lines = [{**line, "mood": 1} if line["type"] == "user" else line for line in CLAUDE]
    (record,) = records(tmp_path, as_lines(lines))
    assert set(record_parse(record.value()).account.unused) == {"mood"}


def test_a_line_that_is_not_json_is_a_problem_of_its_own(tmp_path: Path) -> None:
    broken, whole = records(tmp_path, as_lines(CLAUDE) + "{oops\n")
    assert broken.error is not None and broken.line == len(CLAUDE) + 1
    assert len(whole.value()["messages"]) == 5
