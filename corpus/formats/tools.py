"""Tools: their definitions, their calls, and which result belongs to which call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpus.examples import ToolCall, Turn
from corpus.fields import Account, Fields
from corpus.jsontext import ExampleError, json_decode, shown, text_decode

_CALL_METADATA = frozenset({"type", "index", "status", "object"})


def call_parse(call: Any, where: str, path: str, account: Account) -> ToolCall:
    """Read one call: {"id", "type", "function": {"name", "arguments"}}, or the function alone."""
    outer = call if isinstance(call, Mapping) else {}
    inner = outer.get("function", outer)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise ExampleError(
            f"{where}: a tool call has no function name", 'Write {"name": ..., "arguments": {...}}.'
        )
    fields = Fields(outer, path, account)
    function = fields
    if inner is not outer:
        fields.take("function")
        function = Fields(inner, f"{path}function.", account)
    name = function.take("name")
    arguments = function.take("arguments", "parameters", "input")
    call_id = fields.take("id", "call_id")
    function.close(_CALL_METADATA)
    fields.close(_CALL_METADATA)
    return ToolCall(
        name=name,
        arguments=arguments_decode(arguments, where, account),
        call_id=call_id if isinstance(call_id, str) and call_id else None,
    )


def calls_of_text(value: Any, where: str, path: str, account: Account) -> list[ToolCall]:
    """Read the calls of a ShareGPT turn: JSON text of one call or of a list of them."""
    if isinstance(value, str):
        try:
            value = json_decode(value)
        except ExampleError as error:
            raise ExampleError(f"{where}: a tool call is {error.message}", error.cure) from None
    calls = value if isinstance(value, list) else [value]
    return [call_parse(call, where, path, account) for call in calls]


def arguments_decode(value: Any, where: str, account: Account) -> Any:
    """Return a call's arguments as an object without nulls; noted where they are none.

    Text that is not JSON stays text: `calls_check` refuses it where it would be learnt. Numbers
    that are not finite are refused in any case.
    """
    if value is None:
        return {}
    if isinstance(value, str):
        if not value.strip():
            return {}
        try:
            value = json_decode(value)
        except ExampleError as error:
            if not error.message.startswith("not JSON"):
                raise ExampleError(f"{where}: arguments: {error.message}", error.cure) from None
            account.note("arguments_not_object", where, error.message)
            return value
    if not isinstance(value, Mapping):
        account.note("arguments_not_object", where, f"they are {shown(value)}")
        return value
    nulls = [name for name, argument in value.items() if argument is None]
    if nulls:
        account.note("null_argument", where, ", ".join(nulls))
    return {name: argument for name, argument in value.items() if argument is not None}


def tools_parse(value: Any, name: str) -> tuple[Mapping[str, Any], ...]:
    """Return the tools that a record offers; ShareGPT writes them as JSON text.

    OpenAI's old `functions` and Anthropic's tools with an `input_schema` take the form of today's
    OpenAI, which is what chat templates expect.
    """
    if isinstance(value, str):
        value = text_decode(value, name) if value.strip() else None
    if not value:
        return ()
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise ExampleError(f"{name} is not a list of objects", "Write a list of tool definitions.")
    tools = tuple(_tool(tool, name) for tool in value)
    for number, tool in enumerate(tools, start=1):
        if tool.get("type", "function") == "function" and not tool_name(tool):
            cure = "Give each tool a name: the model calls it by that."
            raise ExampleError(f"{name}: number {number} has no name", cure)
    return tools


def _tool(tool: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if "input_schema" in tool:
        rest = {key: value for key, value in tool.items() if key != "input_schema"}
        return {"type": "function", "function": rest | {"parameters": tool["input_schema"]}}
    if name == "functions" and "function" not in tool:
        return {"type": "function", "function": tool}
    return tool


def calls_join(
    turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]], account: Account
) -> list[Turn]:
    """Return the turns with every call's results in the order of the calls; note what is odd.

    Results are joined to the calls before them by id, where both have ids, else by their order.
    """
    _offered_check(turns, tools, account)
    joined: list[Turn] = []
    at = 0
    while at < len(turns):
        callers = _callers(turns, at)
        results_at = at + callers
        end = results_at
        while end < len(turns) and turns[end].role == "tool":
            end += 1
        calls = [(call, at + i) for i in range(callers) for call in turns[at + i].tool_calls]
        joined += turns[at:results_at]
        group = _Group(calls=calls, results_at=results_at, goes_on=end < len(turns))
        joined += group.results_in_order(turns[results_at:end], account)
        at = end
    return joined


def _callers(turns: Sequence[Turn], at: int) -> int:
    """How many turns from `at` on share the results that follow: 1, or several that call in a row.

    0 where a result stands at `at`.
    """
    if turns[at].role == "tool":
        return 0
    count = 1
    while turns[at + count - 1].tool_calls and at + count < len(turns):
        if not turns[at + count].tool_calls:
            break
        count += 1
    return count


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Calls that stand together, and the results after them."""

    calls: Sequence[tuple[ToolCall, int]]
    """Each with the place of its turn."""
    results_at: int
    goes_on: bool
    """Whether turns follow after the results."""

    def results_in_order(self, results: Sequence[Turn], account: Account) -> Sequence[Turn]:
        """Put the results into the order of the calls; note what belongs to nothing."""
        ids = [call.call_id for call, _ in self.calls]
        if not self.calls or None in ids or not all(one.call_id for one in results):
            self._counts_check(results, account)
            return results
        answered = {one.call_id for one in results}
        for i, one in enumerate(results):
            if one.call_id not in ids:
                where = f"turn {self.results_at + i + 1}"
                account.note("unknown_call_id", where, f"id {shown(one.call_id)}")
        self._missing_note(
            [one for one in self.calls if one[0].call_id not in answered], len(results), account
        )
        ordered = sorted(
            results, key=lambda one: ids.index(one.call_id) if one.call_id in ids else len(ids)
        )
        if ordered != list(results):
            account.note("results_reordered", f"turn {self.results_at}")
        return ordered

    def _counts_check(self, results: Sequence[Turn], account: Account) -> None:
        for i in range(len(self.calls), len(results)):
            account.note("result_without_call", f"turn {self.results_at + i + 1}")
        self._missing_note(self.calls[len(results) :], len(results), account)

    def _missing_note(
        self, missing: Sequence[tuple[ToolCall, int]], result_count: int, account: Account
    ) -> None:
        # The calls that an example ends with are its last decision: their results are not in it.
        if self.goes_on or result_count:
            for call, place in missing:
                account.note("call_without_result", f"turn {place + 1}", call.name)


def _offered_check(
    turns: Sequence[Turn], tools: Sequence[Mapping[str, Any]], account: Account
) -> None:
    offered = {tool_name(tool) for tool in tools}
    if not offered or None in offered:  # a definition of a kind of its own may name anything
        return
    for number, turn in enumerate(turns, start=1):
        for call in turn.tool_calls:
            if call.name not in offered:
                account.note("tool_not_offered", f"turn {number}", call.name)


def tool_name(tool: Mapping[str, Any]) -> str | None:
    """The name of an offered tool; None where its definition has none."""
    function = tool.get("function")
    name = (function if isinstance(function, Mapping) else tool).get("name")
    return name if isinstance(name, str) else None
