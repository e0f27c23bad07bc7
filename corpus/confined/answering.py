"""What a confined process answers. Everything in here may loop, swell or end it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from corpus.confined.limits import CHECK_SECONDS, SHOW_SECONDS, TRY_SECONDS, seconds_allow
from corpus.conversations import ChatEncoder, Piece, RewrittenError
from corpus.examples import Example, ToolCall, Turn, decisions_mark, example_from_json
from corpus.jsontext import ExampleError
from engine.modelcheck import Problem, model_directory_problems
from engine.tensorfiles import parameter_count, tensor_shapes

Tell = Callable[[str], None]
"""Says at which file it is."""

_TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look something up.",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}},
    },
}


def answer(request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Answer a request of `corpus.confined`."""
    directory = Path(request["directory"])
    if request["ask"] == "check":
        return _check(directory, tell)
    seconds_allow(SHOW_SECONDS)
    if request["ask"] == "arguments":
        tell(_template_file(directory))
        return {"names": _encoder(directory).template.argument_names}
    show = _example_show if request["ask"] == "examples" else _decision_show
    tell(_template_file(directory))
    encoder = _encoder(directory)
    return {"answers": [show(encoder, record) for record in request["records"]]}


@lru_cache(maxsize=2)
def _encoder(directory: Path) -> ChatEncoder:
    return ChatEncoder.from_directory(directory)


def _example_show(encoder: ChatEncoder, record: Mapping[str, Any]) -> dict[str, Any]:
    example = example_from_json(record)
    try:
        shown = _as_learnt(encoder, example)
        encoded = [encoder.encode(one) for one in shown]
        pieces = [encoder.pieces(one) for one in shown]
    except ExampleError as error:  # its tokens are not counted yet
        return {"problem": f"{error.message}. {error.cure}"}
    for one in pieces[1:]:
        one.insert(0, _AGAIN)
    return {
        "pieces": list(chain.from_iterable(pieces)),
        "context_token_count": sum(one.context_token_count for one in encoded),
        "decision_token_count": sum(one.decision_token_count for one in encoded),
    }


_AGAIN = Piece("\n\n⋯ the same conversation, as it stands at its next answer ⋯\n\n", False)


def _as_learnt(encoder: ChatEncoder, example: Example) -> list[Example]:
    """An example that the counting pass has not seen yet may be unfolded by it."""
    try:
        encoder.encode(example)
    except RewrittenError:
        return encoder.unfold(example)
    return [example]


def _decision_show(encoder: ChatEncoder, asked: tuple[Mapping[str, Any], int]) -> str:
    record, decision = asked
    encoded = encoder.encode(example_from_json(record))
    segment = encoded.decisions[decision]
    ids = encoded.token_ids[segment.start : segment.end]
    return str(encoder.tokenizer.decode(ids, skip_special_tokens=True)).strip()


def _check(directory: Path, tell: Tell) -> dict[str, Any]:
    seconds_allow(CHECK_SECONDS)
    problems = model_directory_problems(directory, tell)
    count = 0
    if not problems:
        count = parameter_count(tensor_shapes(directory))
        problems = _encoder_problems(directory, tell)
    return {"problems": [asdict(problem) for problem in problems], "parameter_count": count}


def _encoder_problems(directory: Path, tell: Tell) -> list[Problem]:
    """Load tokenizer and template as every engine does, and try them."""
    tell("tokenizer.json")
    try:
        encoder = ChatEncoder.from_directory(directory)
    except ValueError as error:
        template = str(error).startswith("the chat template")
        where = _template_file(directory) if template else "tokenizer.json"
        cure = "Export the model and its tokenizer again."
        message = str(error)[:300].removeprefix(f"{where} ")
        return [Problem(where=where, message=message, cure=cure)]
    seconds_allow(TRY_SECONDS)
    for text in _TEXTS:
        encoder.tokenizer.encode(text)
    tell(_template_file(directory))
    for example in _examples():
        try:
            encoder.encode(example)
        except ExampleError:
            continue  # many templates have no place for tools, or for a system turn
    return []


def _template_file(directory: Path) -> str:
    own = directory / "chat_template.jinja"
    return own.name if own.is_file() else "the chat template in tokenizer_config.json"


_TEXTS = ("Hello, world!", "a" * 2000, " " * 2000, "1" * 500 + "!", "aA1 _-\t\n" * 200)
"""The last four are what patterns that look back and forth without end are slow at."""


def _examples() -> list[Example]:
    """Conversations of the kinds that templates tell apart."""
    ask, say = Turn(role="user", content="How are you?"), Turn(role="assistant", content="Fine.")
    system = Turn(role="system", content="Be brief.")
    call = ToolCall(name="look", arguments={"what": "rain"}, call_id="call_0001")
    called = Turn(role="assistant", content="", tool_calls=(call,))
    told = Turn(role="tool", content="It rains.", name="look", call_id="call_0001")
    thought = Turn(role="assistant", content="Fine.", reasoning="They ask how I am.")
    plain = [(ask, say), (system, ask, say), (ask, thought), (ask, say) * 12]
    made = [Example(turns=turns, format="canonical", day="2026-01-01") for turns in plain]
    made.append(
        Example(
            turns=(ask, called, told, say), format="canonical", tools=(_TOOL,), day="2026-01-01"
        )
    )
    return [decisions_mark(example, "all") for example in made]
