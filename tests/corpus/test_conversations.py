"""Decision spans and token ids, against transformers' own chat template code."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from corpus.conversations import ChatEncoder
from corpus.encoded import EncodedExample
from corpus.examples import decisions_mark, example_from_json
from corpus.formats import example_parse
from corpus.jsontext import ExampleError
from tests.tiny_model import END_ID, tiny_tokenizer_write

TOOL_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<call>{{ call.function | tojson }}</call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Grüße, 漢字 <b>?"},
    {"role": "assistant", "content": "One."},
    {"role": "user", "content": "More"},
    {"role": "assistant", "content": "\n  Two 漢.  "},
]
TOOL_TALK = [
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "sky", "arguments": '{"city": "Köln"}'}}],
    },
    {"role": "tool", "name": "sky", "content": "rain"},
    {"role": "tool", "name": "sky", "content": "wind"},
    {"role": "assistant", "content": "It rains."},
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_tokenizer_write(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def encoder(directory: Path) -> ChatEncoder:
    return ChatEncoder.from_directory(directory)


def with_template(directory: Path, copy: Path, template: str | None) -> Path:
    """A copy of a tokenizer directory with another chat template, or none."""
    tiny_tokenizer_write(copy)
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    if template is not None:
        settings["chat_template"] = template
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    return copy


def encode(encoder: ChatEncoder, messages: list[Any], rule: str = "all", **more: Any) -> Any:
    return encoder.encode(decisions_mark(example_parse({"messages": messages, **more}), rule))


def decision_texts(encoder: ChatEncoder, encoded: EncodedExample) -> list[str]:
    return [
        encoder.tokenizer.decode(encoded.token_ids[s.start : s.end], skip_special_tokens=False)
        for s in encoded.segments
        if s.is_decision
    ]


def test_token_ids_are_those_of_apply_chat_template(encoder: ChatEncoder, directory: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    expected = tokenizer.apply_chat_template(TALK, return_dict=True)["input_ids"]
    assert encode(encoder, TALK).token_ids == expected


def test_tool_templates_render_as_in_transformers(directory: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    path = with_template(directory, tmp_path / "tools", TOOL_TEMPLATE)
    tools: list[Any] = [{"type": "function", "function": {"name": "sky", "description": "<&>"}}]
    messages = json.loads(json.dumps(TOOL_TALK))
    messages[1]["content"] = ""
    messages[1]["tool_calls"][0] = {
        "type": "function",
        "function": {"name": "sky", "arguments": {"city": "Köln"}},
    }
    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    expected = tokenizer.apply_chat_template(messages, tools=tools, return_dict=True)["input_ids"]
    encoded = encode(ChatEncoder.from_directory(path), TOOL_TALK, tools=tools)
    assert encoded.token_ids == expected


def test_a_decision_is_content_and_end_token_without_the_header(encoder: ChatEncoder) -> None:
    encoded = encode(encoder, TALK)
    assert decision_texts(encoder, encoded) == ["One.<|im_end|>", "\n  Two 漢.  <|im_end|>"]
    assert encoded.decision_token_count == 5 + 2 + len("  Two 漢.  ".encode())
    first = encoded.segments[1]
    header = encoder.tokenizer.decode(encoded.token_ids[first.start - 10 : first.start])
    assert header == "assistant\n"


def test_segments_cover_every_token_in_turn(encoder: ChatEncoder) -> None:
    encoded = encode(encoder, TALK)
    starts = [segment.start for segment in encoded.segments]
    assert starts == [0, *(segment.end for segment in encoded.segments[:-1])]
    assert encoded.segments[-1].end == len(encoded.token_ids)
    assert encoded.context_token_count + encoded.decision_token_count == len(encoded.token_ids)


def test_the_rule_picks_the_last_turn_or_all(encoder: ChatEncoder) -> None:
    assert len(decision_texts(encoder, encode(encoder, TALK, "all"))) == 2
    assert decision_texts(encoder, encode(encoder, TALK, "last"))[0].startswith("\n  Two")


def test_marks_go_before_the_rule(encoder: ChatEncoder) -> None:
    marked = json.loads(json.dumps(TALK))
    marked[2]["train"] = True
    assert decision_texts(encoder, encode(encoder, marked, "last")) == ["One.<|im_end|>"]
    marked[2]["train"] = False
    assert len(decision_texts(encoder, encode(encoder, marked, "all"))) == 1
    marked[4]["train"] = False
    with pytest.raises(ExampleError, match="no decision tokens"):
        encode(encoder, marked, "all")


def test_tool_turns_become_text_for_a_template_without_tools(encoder: ChatEncoder) -> None:
    encoded = encode(encoder, TOOL_TALK, tools=[{"name": "sky"}])
    text = encoder.tokenizer.decode(encoded.token_ids, skip_special_tokens=False)
    assert text.startswith("<|im_start|>system\nYou may call these tools:\n<tools>\n")
    outputs = "<tool_response>\nrain\n</tool_response>\n<tool_response>\nwind\n</tool_response>"
    assert f"<|im_start|>user\n{outputs}<|im_end|>" in text
    call = '<tool_call>\n{"name": "sky", "arguments": {"city": "Köln"}}\n</tool_call><|im_end|>'
    assert decision_texts(encoder, encoded) == [call, "It rains.<|im_end|>"]


def test_pieces_are_whole_characters_and_give_the_text(encoder: ChatEncoder) -> None:
    example = decisions_mark(example_parse({"messages": TALK}), "all")
    pieces = encoder.pieces(example)
    text = "".join(piece.text for piece in pieces)
    assert "Grüße, 漢字 <b>?" in text
    assert "�" not in text
    learnt = "".join(piece.text for piece in pieces if piece.is_decision)
    assert learnt == "One.<|im_end|>\n  Two 漢.  <|im_end|>"


def test_a_model_without_a_template_gets_the_plain_one(directory: Path, tmp_path: Path) -> None:
    encoder = ChatEncoder.from_directory(with_template(directory, tmp_path / "plain", None))
    assert not encoder.has_own_template
    encoded = encode(encoder, TALK)
    assert encoder.tokenizer.decode(encoded.token_ids[:17]) == "system:\nBe brief."
    assert decision_texts(encoder, encoded)[0] == "One.<|im_end|>"
    assert encoded.token_ids.count(END_ID) == 2


def test_a_template_that_rewrites_the_past_is_refused(directory: Path, tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ loop.length }}{{ m.content }}<|im_end|>{% endfor %}"
    encoder = ChatEncoder.from_directory(with_template(directory, tmp_path / "odd", template))
    with pytest.raises(ExampleError, match="differently once more messages follow"):
        encode(encoder, TALK)


def test_a_template_cannot_reach_python(directory: Path, tmp_path: Path) -> None:
    template = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    encoder = ChatEncoder.from_directory(with_template(directory, tmp_path / "evil", template))
    with pytest.raises(ExampleError, match="unsafe"):
        encode(encoder, TALK)


def test_control_tokens_inside_content_do_not_move_the_spans(encoder: ChatEncoder) -> None:
    messages = [
        {"role": "user", "content": "say <|im_end|>"},
        {"role": "assistant", "content": "<|im_end|> yes <|im_start|>"},
    ]
    texts = decision_texts(encoder, encode(encoder, messages))
    assert texts == ["<|im_end|> yes <|im_start|><|im_end|>"]


def test_neither_torch_nor_transformers_is_imported() -> None:
    code = (
        "import sys\n"
        "import corpus.conversations, training.config\n"
        "import training.ahead.forecast, training.ahead.warnings\n"
        "import engine.modelcheck, corpus.ingestion, engine.manifest, training.samples\n"
        "sys.exit(bool({'torch', 'transformers'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("knows_tools", [True, False])
def test_tool_outputs_never_get_gradient(
    directory: Path, tmp_path: Path, knows_tools: bool
) -> None:
    """Not even where a file of examples that was changed by hand says so."""
    path = with_template(directory, tmp_path / "tools", TOOL_TEMPLATE) if knows_tools else directory
    encoder = ChatEncoder.from_directory(path)
    record = decisions_mark(example_parse({"messages": TOOL_TALK}), "all").to_json()
    for turn in record["turns"]:
        turn["train"] = True
    texts = decision_texts(encoder, encoder.encode(example_from_json(record)))
    assert len(texts) == 2
    assert texts[1] == "It rains.<|im_end|>"
    assert not any(word in text for text in texts for word in ("Weather", "rain\n", "wind"))
