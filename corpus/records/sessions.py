"""Session logs, in which many lines make one example: Claude Code, Codex and OpenHands.

Each session becomes one record in OpenAI's form; lines that are not part of the conversation are
counted and named. A session is as long as its file, so all of it is in memory.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from corpus.fields import Notice
from corpus.jsontext import ExampleError
from corpus.records.record import FileError, Record

_CLAUDE_ENVELOPE = frozenset(
    (
        *("parentUuid", "isSidechain", "userType", "cwd", "sessionId", "version", "gitBranch"),
        *("type", "message", "uuid", "timestamp", "requestId", "toolUseResult", "isMeta", "slug"),
        *("isCompactSummary", "isVisibleInTranscriptOnly", "isApiErrorMessage", "thinkingMetadata"),
        *("todos", "permissionMode", "agentId", "logicalParentUuid", "level", "subtype", "content"),
        *("sourceToolAssistantUUID", "sourceToolUseID", "entrypoint", "promptId", "error"),
    )
)
_CODEX_ITEMS = frozenset(
    (
        *("message", "reasoning", "function_call", "function_call_output"),
        *("custom_tool_call", "custom_tool_call_output", "local_shell_call"),
    )
)
_CODEX_ENVELOPES = frozenset(
    ("session_meta", "response_item", "event_msg", "turn_context", "compacted")
)


def is_session_log(record: Record) -> bool:
    """Whether the first record of a file is a line of a session log."""
    try:
        value = record.value()
    except (ExampleError, FileError):
        return False
    return isinstance(value, dict) and _kind_of(value) is not None


def _kind_of(value: Mapping[str, Any]) -> Any:
    kind = value.get("type")
    if isinstance(kind, str) and ({"sessionId", "leafUuid", "parentUuid", "snapshot"} & set(value)):
        return _ClaudeCode
    if kind in _CODEX_ENVELOPES and isinstance(value.get("payload"), dict):
        return _Codex
    if {"id", "timestamp", "instructions"} <= set(value) and "messages" not in value:
        return _Codex
    if value.get("source") in ("user", "agent", "environment") and (
        {"action", "observation"} & set(value)
    ):
        return _OpenHands
    return None


def sessions_read(records: Iterable[Record]) -> Iterator[Record]:
    """Yield one record for each session of a log, in the order in which they begin.

    Lines that cannot be read are yielded as they are, with their errors.
    """
    log: Any = None
    end_bytes = 0
    for record in records:
        end_bytes = record.end_bytes
        try:
            value = record.value()
            if not isinstance(value, dict):
                raise ExampleError("not a JSON object", "Leave the line out.")
            log = log or _kind_of(value)()
            log.add(value, record.line)
        except ExampleError as error:
            yield Record(line=record.line, error=error, end_bytes=end_bytes)
    for session in log.sessions() if log else ():
        yield session.record(end_bytes)


@dataclass(kw_only=True)
class _Session:
    """One conversation that is being put together."""

    line: int
    messages: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields of the record beside its messages."""
    aside: dict[str, int] = field(default_factory=dict)
    """Kinds of lines that are not learnt, and how many."""
    taken_back: int = 0

    def leave(self, kind: str) -> None:
        """Count a line that is not part of the conversation."""
        self.aside[kind] = self.aside.get(kind, 0) + 1

    def record(self, end_bytes: int) -> Record:
        """The session as one record."""
        notices = []
        if self.aside:
            detail = ", ".join(f"{count} {kind}" for kind, count in self.aside.items())
            notices.append(Notice(kind="log_lines", where=f"line {self.line}", detail=detail))
        if self.taken_back:
            detail = f"{self.taken_back} lines"
            notices.append(Notice(kind="log_branch", where=f"line {self.line}", detail=detail))
        return Record(
            line=self.line,
            decoded={"messages": self.messages, **self.extra},
            end_bytes=end_bytes,
            notices=tuple(notices),
        )


class _ClaudeCode:
    """Lines of the type user and assistant, each with a message; others are not conversation."""

    def __init__(self) -> None:
        self._sessions: dict[Any, _Session] = {}
        self._places: dict[Any, list[tuple[str | None, bool]]] = {}
        """For each message of a session the uuid of its line, and whether it is talk."""
        self._early: dict[str, int] = {}
        self._keys: dict[Any, Any] = {}
        """The session of each line by its uuid."""

    def add(self, value: Mapping[str, Any], line: int) -> None:
        kind = value.get("type")
        message = value.get("message")
        is_talk = kind in ("user", "assistant") and isinstance(message, dict)
        key = self._key(value)
        if not is_talk or value.get("isMeta"):
            self._aside(key, str(kind))
            return
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = _Session(line=line, aside=self._early)
            self._early = {}
            if value.get("sessionId"):
                session.extra["session_id"] = value["sessionId"]
        for name in value:
            if name not in _CLAUDE_ENVELOPE:
                session.extra.setdefault(name, value[name])
        self._message_add(key, session, value, dict(message or {}))

    def _key(self, value: Mapping[str, Any]) -> Any:
        """Which session a line belongs to; one that does not say follows the line it answers."""
        key = (value.get("sessionId"), bool(value.get("isSidechain")), value.get("agentId"))
        if key[0] is None:
            key = self._keys.get(value.get("parentUuid"), key)
        if isinstance(value.get("uuid"), str):
            self._keys[value["uuid"]] = key
        return key

    def _aside(self, key: Any, kind: str) -> None:
        session = self._sessions.get(key) or next(iter(self._sessions.values()), None)
        if session is not None:
            session.leave(kind)
        else:
            self._early[kind] = self._early.get(kind, 0) + 1

    def _message_add(
        self, key: Any, session: _Session, value: Mapping[str, Any], message: dict[str, Any]
    ) -> None:
        places = self._places.setdefault(key, [])
        content = message.get("content")
        blocks = content if isinstance(content, list) else []
        has_results = any(
            isinstance(block, dict) and block.get("type") == "tool_result" for block in blocks
        )
        is_talk = not has_results
        if is_talk and value["type"] == "user":
            self._rewind(session, places, value.get("parentUuid"))
        last = session.messages[-1] if session.messages else {}
        same_message = (
            value["type"] == "assistant"
            and message.get("id") is not None
            and last.get("id") == message["id"]
        )
        if same_message and isinstance(last.get("content"), list) and blocks:
            last["content"] = [*last["content"], *blocks]
            places[-1] = (value.get("uuid"), True)
            return
        session.messages.append(message)
        places.append((value.get("uuid"), is_talk))

    def _rewind(
        self, session: _Session, places: list[tuple[str | None, bool]], parent: Any
    ) -> None:
        """Drop what stands after `parent` where a person went back to it and went on otherwise."""
        at = next((i for i, (uuid, _) in enumerate(places) if uuid == parent), None)
        if parent is None or at is None or not any(talk for _, talk in places[at + 1 :]):
            return
        session.taken_back += len(places) - at - 1
        del places[at + 1 :], session.messages[at + 1 :]

    def sessions(self) -> list[_Session]:
        return list(self._sessions.values())


class _Codex:
    """Items of the Responses API, with or without an envelope around each."""

    def __init__(self) -> None:
        self._session: _Session | None = None

    def add(self, value: Mapping[str, Any], line: int) -> None:
        session = self._session = self._session or _Session(line=line)
        item = value
        if isinstance(value.get("payload"), dict):
            item = value["payload"] | {"type": value["payload"].get("type", value.get("type"))}
            if value.get("type") != "response_item":
                self._meta(session, str(value.get("type")), value["payload"])
                return
        if item.get("type") not in _CODEX_ITEMS:
            self._meta(session, str(item.get("type") or "header"), item)
            return
        self._item(session, item)

    def _meta(self, session: _Session, kind: str, payload: Mapping[str, Any]) -> None:
        instructions = payload.get("instructions") or payload.get("base_instructions")
        if isinstance(instructions, dict):
            instructions = instructions.get("text")
        if isinstance(instructions, str) and "system" not in session.extra:
            session.extra["system"] = instructions
        else:
            session.leave(kind)

    def _item(self, session: _Session, item: Mapping[str, Any]) -> None:
        kind = item["type"]
        if kind == "message":
            session.messages.append({"role": item.get("role"), "content": item.get("content")})
        elif kind == "reasoning":
            parts = [*(item.get("summary") or []), *(item.get("content") or [])]
            texts = [part.get("text") for part in parts if isinstance(part, dict)]
            text = "\n\n".join(one for one in texts if isinstance(one, str))
            if text:
                session.messages.append({"role": "reasoning", "content": text})
            else:
                session.leave("encrypted reasoning")
        elif kind.endswith("_output"):
            output = item.get("output")
            if isinstance(output, dict):
                output = output.get("content")
            result = {"role": "tool", "tool_call_id": item.get("call_id"), "content": output}
            session.messages.append(result)
        else:
            self._call(session, item)

    def _call(self, session: _Session, item: Mapping[str, Any]) -> None:
        name, arguments = item.get("name"), item.get("arguments")
        if item["type"] == "local_shell_call":
            name, arguments = "local_shell", item.get("action")
        elif item["type"] == "custom_tool_call":
            arguments = {"input": item.get("input")}
        call = {"id": item.get("call_id"), "name": name, "arguments": arguments}
        session.messages.append({"role": "assistant", "content": None, "tool_calls": [call]})

    def sessions(self) -> list[_Session]:
        return [self._session] if self._session else []


class _OpenHands:
    """Actions of user and agent, and the observations that they cause."""

    _ASIDE = frozenset(("recall", "change_agent_state", "null", "agent_state_changed", "condense"))

    def __init__(self) -> None:
        self._session: _Session | None = None

    def add(self, value: Mapping[str, Any], line: int) -> None:
        session = self._session = self._session or _Session(line=line)
        what = value.get("action") or value.get("observation")
        if what in self._ASIDE or not isinstance(what, str):
            session.leave(str(what))
        elif value.get("observation"):
            call_id = (value.get("tool_call_metadata") or {}).get("tool_call_id")
            role = "tool" if session.messages and value.get("source") != "user" else "user"
            message = {"role": role, "content": value.get("content")}
            session.messages.append(message | ({"tool_call_id": call_id} if call_id else {}))
        else:
            self._action(session, value, what)

    def _action(self, session: _Session, value: Mapping[str, Any], what: str) -> None:
        arguments = dict(value.get("args") or {})
        if what == "system":
            session.messages.append({"role": "system", "content": arguments.get("content")})
            if arguments.get("tools"):
                session.extra["tools"] = arguments["tools"]
        elif what == "message":
            role = "user" if value.get("source") == "user" else "assistant"
            session.messages.append({"role": role, "content": arguments.get("content")})
        else:
            thought = arguments.pop("thought", None) or None
            session.messages.append(
                {
                    "role": "assistant",
                    "content": thought,
                    "tool_calls": [self._call(value, what, arguments)],
                }
            )

    @staticmethod
    def _call(value: Mapping[str, Any], what: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The call as the model made it, where the log kept it, else the action it became."""
        metadata = value.get("tool_call_metadata") or {}
        call_id = metadata.get("tool_call_id")
        choices = (metadata.get("model_response") or {}).get("choices") or [{}]
        calls = (choices[0].get("message") or {}).get("tool_calls") or []
        for call in calls:
            if isinstance(call, dict) and call.get("id") == call_id:
                return call
        name = metadata.get("function_name") or what
        return {"id": call_id, "name": name, "arguments": dict(arguments)}

    def sessions(self) -> list[_Session]:
        return [self._session] if self._session else []
