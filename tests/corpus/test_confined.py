"""A template or tokenizer that does not come to its end stops nothing but its own process."""

import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from corpus import confined, templates
from corpus.confined import ConfinedError, decisions_show, examples_show, model_check
from corpus.conversations import ChatEncoder
from corpus.examples import decisions_mark, example_from_json
from corpus.jsontext import ExampleError
from corpus.templates import ChatTemplate, TemplateStuckError
from tests.tiny_model import CHAT_TEMPLATE, tiny_tokenizer_write

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
TRAP = "{% if messages[0].content == 'loop' %}" + LOOP + "{% endif %}" + CHAT_TEMPLATE
_SAID = {"role": "assistant", "content": "So.", "train": True}
TURNS = [{"role": "user", "content": "How?"}, _SAID]
LOOPS = [{"role": "user", "content": "loop"}, _SAID]


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A tokenizer with a template that loops at one word, which no trial has."""
    directory = tiny_tokenizer_write(tmp_path / "model")
    (directory / "chat_template.jinja").write_text(TRAP)
    return directory


def test_what_it_shows_is_what_the_encoder_says(trap: Path) -> None:
    encoder = ChatEncoder.from_directory(trap)
    example = example_from_json({"turns": TURNS})
    encoded = encoder.encode(example)
    (shown,) = examples_show(trap, [{"turns": TURNS}])
    assert shown["pieces"] == [list(piece) for piece in encoder.pieces(example)]
    assert shown["context_token_count"] == encoded.context_token_count
    assert shown["decision_token_count"] == encoded.decision_token_count
    assert decisions_show(trap, [({"turns": TURNS}, 0)]) == ["So."]


def test_an_example_that_cannot_be_encoded_says_why(trap: Path) -> None:
    (shown,) = examples_show(trap, [{"turns": TURNS[:1]}])
    assert "no assistant turn" in shown["problem"]


@pytest.mark.slow
def test_an_example_at_which_the_template_loops_is_given_up_and_the_next_is_shown(
    trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confined, "SHOW_SECONDS", 2.0)
    began = time.monotonic()
    with pytest.raises(ConfinedError, match=r"chat_template\.jinja: was given up"):
        examples_show(trap, [{"turns": TURNS}, {"turns": LOOPS}])
    assert time.monotonic() - began < 6
    assert examples_show(trap, [{"turns": TURNS}])[0]["pieces"]


def test_several_threads_are_answered_each_with_its_own(trap: Path) -> None:
    answers: dict[str, Any] = {}

    def ask(word: str) -> None:
        turns = [{"role": "user", "content": word}, TURNS[1]]
        (shown,) = examples_show(trap, [{"turns": turns}])
        answers[word] = "".join(text for text, *_ in shown["pieces"])

    threads = [threading.Thread(target=ask, args=(f"word {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(word in text for word, text in answers.items()) and len(answers) == 4


def test_it_knows_no_secret_and_writes_no_file(trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTPORTAL_SECRET_KEY", "secret")
    monkeypatch.setattr(confined, "_idle", [])
    examples_show(trap, [{"turns": TURNS}])
    (process,) = confined._idle
    status = Path(f"/proc/{process._child.pid}")
    assert b"secret" not in (status / "environ").read_bytes()
    limits = (status / "limits").read_text().splitlines()
    assert any(line.split()[:4] == ["Max", "file", "size", "0"] for line in limits)
    process.close()


def test_one_that_died_is_replaced(trap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "_idle", [])
    examples_show(trap, [{"turns": TURNS}])
    (process,) = confined._idle
    os.kill(process._child.pid, 9)
    os.waitid(os.P_PID, process._child.pid, os.WEXITED | os.WNOWAIT)
    assert examples_show(trap, [{"turns": TURNS}])[0]["pieces"]
    confined._idle.pop().close()


def test_a_model_is_checked_whole(tiny_model_directory: Path, tmp_path: Path) -> None:
    check = model_check(tiny_model_directory)
    assert check.problems == []
    assert check.parameter_count > 20_000
    copied = Path(shutil.copytree(tiny_model_directory, tmp_path / "copied"))
    (copied / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{% if"}))
    (problem,) = model_check(copied).problems
    assert problem.where == "the chat template in tokenizer_config.json"


def test_a_template_that_loops_is_stopped_in_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "RENDER_SECONDS", 0.3)
    template = ChatTemplate(TRAP, {})
    began = time.monotonic()
    with pytest.raises(TemplateStuckError, match=r"within 0\.3 s"):
        template.render([{"role": "user", "content": "loop"}])
    assert time.monotonic() - began < 3
    assert template.render([{"role": "user", "content": "How?"}])


@pytest.mark.parametrize(
    "source",
    [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 1 / 0 }}",
        "{{ messages[9].content.x }}",
        "{{ [1][5] + 1 }}",
        "{{ 2 ** (messages | length * 1000000) }}",
        "{{ ''.__class__.__mro__[1]() }}",
    ],
)
def test_whatever_a_template_raises_is_a_refusal(source: str) -> None:
    template = ChatTemplate(source, {})
    with pytest.raises(ExampleError, match=r"refuses this conversation: \S"):
        template.render([{"role": "user", "content": "How?"}])


@pytest.mark.parametrize("settings", [{"chat_template": [1, {"name": []}]}, {"chat_template": 5}])
def test_settings_that_name_no_template_leave_the_default(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    directory = tiny_tokenizer_write(tmp_path / "model")
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    encoder = ChatEncoder.from_directory(directory)
    assert not encoder.has_own_template
    assert encoder.encode(decisions_mark(example_from_json({"turns": TURNS}), "last")).token_ids
