"""Templates of models that think: every answer is learnt as the model will write it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corpus.conversations import ChatEncoder, RewrittenError
from corpus.examples import Example, decisions_mark, example_from_json
from corpus.formats import example_parse
from corpus.ingestion.config import IngestionConfig
from corpus.ingestion.engine import main
from corpus.reasoning import reasoning_choose
from engine.checks import ConfigError
from tests.tiny_model import tiny_tokenizer_write

THINKS = """
{%- set last = namespace(query=-1) %}
{%- for m in messages %}
{%- if m.role == 'user' %}{% set last.query = loop.index0 %}{% endif %}
{%- endfor %}
{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\n' }}
{%- if m.role == 'assistant' %}
{%- if loop.index0 > last.query %}
{{- '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}
{%- endif %}
{{- m.content }}
{%- for call in m.tool_calls or [] %}{{ '<call>' + call.function.name + '</call>' }}{% endfor %}
{%- else %}{{ m.content }}{% endif %}
{{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n<think>\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '\n</think>\n\n' }}{% endif %}
{%- endif %}
"""
"""As Qwen3.5's: reasoning is written behind the last question alone, and its beginning is given."""
ASK, MORE = ({"role": "user", "content": words} for words in ("Sum?", "Twice?"))
ONE = {"role": "assistant", "content": "3", "reasoning_content": "1+2"}
TWO = {"role": "assistant", "content": "6", "reasoning_content": "3+3"}
PLAIN = {"role": "assistant", "content": "3"}
CALL = {
    "role": "assistant",
    "content": "",
    "reasoning_content": "look",
    "tool_calls": [{"function": {"name": "sky", "arguments": "{}"}}],
}
TOLD = {"role": "tool", "name": "sky", "content": "rain"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tiny_tokenizer_write(tmp_path_factory.mktemp("thinks"))
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": THINKS}))
    return path


@pytest.fixture(scope="module")
def encoder(directory: Path) -> ChatEncoder:
    return ChatEncoder.from_directory(directory)


def example_of(
    messages: list[Any], *, choice: str = "learn", rule: str = "all", empty: bool = False
) -> Example:
    parsed = example_parse({"messages": messages})
    marked = decisions_mark(reasoning_choose(parsed, choice), rule)
    return replace(marked, learns_empty_reasoning=empty)


def learnt(encoder: ChatEncoder, example: Example) -> list[tuple[str, str]]:
    """(what is read before, what is learnt) of every decision, as text."""
    encoded = encoder.encode(example)

    def text(start: int, end: int) -> str:
        ids = encoded.token_ids[start:end]
        return encoder.tokenizer.decode(ids, skip_special_tokens=False)

    return [
        (text(0, one.start), text(one.start, one.end))
        for one in encoded.segments
        if one.is_decision
    ]


def unfolded(encoder: ChatEncoder, messages: list[Any], **more: Any) -> list[tuple[str, str]]:
    parts = encoder.unfold(example_of(messages, **more))
    return [one for part in parts for one in learnt(encoder, part)]


def test_every_answer_is_learnt_with_its_reasoning(encoder: ChatEncoder) -> None:
    talk = [ASK, ONE, MORE, TWO]
    with pytest.raises(RewrittenError):
        encoder.encode(example_of(talk))
    first, second = unfolded(encoder, talk)
    assert first[1] == "1+2\n</think>\n\n3<|im_end|>"
    assert second[1] == "3+3\n</think>\n\n6<|im_end|>"
    assert "1+2" not in second[0] and "assistant\n3<|im_end|>" in second[0]


@pytest.mark.parametrize("choice", ["learn", "read", "leave_out"])
def test_each_is_read_as_the_template_asks_for_it(encoder: ChatEncoder, choice: str) -> None:
    """The oracle: what the template writes when it asks for the answer begins every decision."""
    talk = [ASK, ONE, MORE, TWO]
    for place, (before, answer) in zip((1, 3), unfolded(encoder, talk, choice=choice), strict=True):
        kept = [
            {"role": m["role"], "content": m["content"]} for m in talk[:place]
        ]  # earlier reasoning is in no prompt
        prompt = encoder.template.render(kept, add_generation_prompt=True)
        assert before.startswith(prompt)
        assert answer.endswith(f"{talk[place]['content']}<|im_end|>")


def test_reasoning_that_is_only_read_stands_before_the_answer(encoder: ChatEncoder) -> None:
    first, second = unfolded(encoder, [ASK, ONE, MORE, TWO], choice="read")
    assert first[0].endswith("1+2\n</think>\n\n") and first[1] == "3<|im_end|>"
    assert second[0].endswith("3+3\n</think>\n\n") and second[1] == "6<|im_end|>"


@pytest.mark.parametrize("messages", [[ASK, ONE], [ASK, PLAIN]], ids=["left out", "none there"])
def test_an_answer_without_reasoning_does_not_learn_to_close_it(
    encoder: ChatEncoder, messages: list[Any]
) -> None:
    example = example_of(messages, choice="leave_out")
    ((before, answer),) = learnt(encoder, example)
    assert before.endswith("<think>\n\n</think>\n\n") and answer == "3<|im_end|>"
    assert encoder.encode(example).remarks == {"no_reasoning"}


@pytest.mark.parametrize("messages", [[ASK, ONE], [ASK, PLAIN]], ids=["left out", "none there"])
def test_by_choice_it_learns_to_close_it(encoder: ChatEncoder, messages: list[Any]) -> None:
    """The oracle: what is read is exactly the prompt, all that the model is to write is learnt."""
    example = example_of(messages, choice="leave_out", empty=True)
    ((before, answer),) = learnt(encoder, example)
    assert before == encoder.template.render([ASK], add_generation_prompt=True)
    assert answer == "\n</think>\n\n3<|im_end|>"
    assert encoder.encode(example).remarks == {"empty_reasoning_learnt"}
    pieces = encoder.pieces(example)
    shown = [one for one in pieces if one.is_reasoning]
    assert "".join(one.text for one in shown).strip() == "</think>"
    assert all(one.is_decision for one in shown)
    assert example.sha256() == example_of(messages, choice="leave_out").sha256()


def test_the_choice_changes_no_answer_that_has_reasoning(encoder: ChatEncoder) -> None:
    talk = [ASK, ONE, MORE, PLAIN]
    chosen, usual = unfolded(encoder, talk, empty=True), unfolded(encoder, talk)
    assert chosen[0] == usual[0] and chosen[0][1] == "1+2\n</think>\n\n3<|im_end|>"
    assert chosen[1][1] == "\n</think>\n\n3<|im_end|>" and usual[1][1] == "3<|im_end|>"
    assert "".join(chosen[1]) == "".join(usual[1])


def test_thinking_that_is_turned_off_is_read_in_the_prompt(encoder: ChatEncoder) -> None:
    record = {"messages": [ASK, PLAIN], "chat_template_kwargs": {"enable_thinking": False}}
    example = decisions_mark(example_parse(record), "all")
    for chosen in (False, True):  # what the prompt gives is not for the model to write
        ((before, answer),) = learnt(encoder, replace(example, learns_empty_reasoning=chosen))
        assert before.endswith("<think>\n\n</think>\n\n") and answer == "3<|im_end|>"


def test_a_chain_of_tools_is_one_example(encoder: ChatEncoder) -> None:
    """Behind the last question all reasoning stays, so all its answers are learnt at once."""
    chain = [ASK, CALL, TOLD, ONE]
    assert encoder.unfold(example_of(chain)) == [example_of(chain)]
    call, answer = learnt(encoder, example_of(chain))
    assert call[1] == "look\n</think>\n\n<call>sky</call><|im_end|>"
    assert answer[1] == "1+2\n</think>\n\n3<|im_end|>"
    parts = encoder.unfold(example_of([*chain, MORE, TWO]))
    assert [len(part.turns) for part in parts] == [4, 6]
    assert [[turn.train for turn in part.turns if turn.role == "assistant"] for part in parts] == [
        [True, True],
        [False, False, True],
    ]


def test_a_turn_that_is_marked_is_learnt_alone(encoder: ChatEncoder) -> None:
    talk = [ASK, ONE | {"train": True}, MORE, TWO]
    ((before, answer),) = unfolded(encoder, talk)
    assert answer == "1+2\n</think>\n\n3<|im_end|>" and "Twice" not in before


@pytest.fixture
def read(directory: Path, tmp_path: Path) -> SimpleNamespace:
    """A file of forty conversations of two answers and forty of one, as it was read."""
    lines = []
    for n in range(40):
        asked = {"role": "user", "content": f"Sum {n}?"}
        lines += [{"messages": [asked, ONE, MORE, TWO]}, {"messages": [asked, PLAIN]}]
    source = tmp_path / "source"
    source.write_text("\n".join(map(json.dumps, lines)))
    return ingested(directory, tmp_path, source)


def ingested(directory: Path, job: Path, source: Path, **more: Any) -> SimpleNamespace:
    job.mkdir(exist_ok=True)
    config = {"source": str(source), "tokenizer": str(directory), "decision_rule": "all", **more}
    (job / "config.json").write_text(json.dumps(config))
    assert main([str(job)]) == 0
    output = job / "attempts/0/output"
    return SimpleNamespace(
        source=source,
        summary=json.loads((output / "summary.json").read_text()),
        examples=[json.loads(line) for line in (output / "examples.jsonl").open()],
    )


def test_a_file_is_unfolded_and_says_so(read: SimpleNamespace, encoder: ChatEncoder) -> None:
    by_line: dict[int, list[dict[str, Any]]] = {}
    for record in read.examples:
        by_line.setdefault(record["line"], []).append(record)
    assert sorted(by_line) == list(range(1, 81))
    for line, records in by_line.items():
        assert len(records) == (2 if line % 2 else 1)
        assert len({(one["sha256"], one["held_out"]) for one in records}) == 1
        assert [one.get("part", False) for one in records][-1] is False
        for record in records:
            encoder.encode(example_from_json(record))
    summary = read.summary
    assert (summary["counted"], summary["unfolded_count"]) == (120, 40)
    assert summary["decision_count"] == 120 and summary["problem_count"] == 0
    assert summary["notices"]["unfolded"] == 40 and summary["notices"]["no_reasoning"] == 40
    assert summary["screening"]["screened"] == 80  # what is said twice is looked through once


def test_a_file_learns_to_answer_without_thinking_where_that_is_chosen(
    read: SimpleNamespace, encoder: ChatEncoder, directory: Path, tmp_path: Path
) -> None:
    """Plain lines too, which take a faster way; the tokens more are the marks of each of them."""
    chosen = ingested(directory, tmp_path / "chosen", read.source, empty_reasoning=True)
    notices = chosen.summary["notices"]
    assert "no_reasoning" not in notices and notices["empty_reasoning_learnt"] == 40
    counts = [one.summary["decision_token_count"] for one in (chosen, read)]
    marks = len(encoder.tokenizer.encode("\n</think>\n\n", add_special_tokens=False).ids)
    assert counts[0] - counts[1] == 40 * marks
    for one, other in zip(chosen.examples, read.examples, strict=True):
        assert (one["sha256"], one["held_out"]) == (other["sha256"], other["held_out"])
        ((_, answer), *_) = learnt(encoder, example_from_json(one))
        assert answer.startswith(("1+2", "3+3", "\n</think>\n\n3"))


def test_the_choice_is_yes_or_no(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="empty_reasoning"):
        IngestionConfig.from_json(
            {"source": str(directory), "tokenizer": str(directory), "empty_reasoning": "yes"}
        )
