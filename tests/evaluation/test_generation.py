"""Batched answers against a plain loop that knows no batch, no padding and no cache."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from corpus.reasoning import answer_split
from engine.attempt import EngineError
from engine.checks import ConfigError
from evaluation.config import GenerateConfig, PromptConfig
from evaluation.generation import answers_batch_size, answers_generate, prompts_encode
from tests.event_log import logged_events

TEXTS = ["Hi", "A much longer question, about files?", "x = 1", "List them all, please.", "é"]


def config(directory: Path, **changes: Any) -> GenerateConfig:
    prompts = tuple(
        PromptConfig(sha256=f"p{i}", messages=({"role": "user", "content": text},))
        for i, text in enumerate(TEXTS)
    )
    fields: dict[str, Any] = {
        "model": str(directory),
        "prompts": prompts,
        "device": "cpu",
        "max_new_tokens": 12,
    }
    return GenerateConfig(**(fields | changes))


def answers(settings: GenerateConfig, loaded: Any) -> list[dict[str, Any]]:
    warnings: list[str] = []
    size = answers_batch_size(settings, loaded).size
    result = answers_generate(
        settings, loaded, size, on_token=lambda share: None, on_warning=warnings.append
    )
    assert warnings == []
    return result


def greedy_by_hand(ids: list[int], loaded: Any, length: int) -> list[int]:
    made: list[int] = []
    for _ in range(length):
        with torch.no_grad():
            logits = loaded.model(torch.tensor([ids + made])).logits[0, -1]
        made.append(int(logits.argmax()))
        if made[-1] == loaded.tokenizer.eos_token_id:
            break
    return made


def test_batches_equal_a_plain_loop(tiny_model_directory: Path, tiny_loaded: Any) -> None:
    settings = config(tiny_model_directory, batch_size=3)
    encoded = prompts_encode(settings, tiny_loaded)
    for ids, answer in zip(encoded, answers(settings, tiny_loaded), strict=True):
        made = greedy_by_hand(ids, tiny_loaded, 12)
        stopped = made[-1] == tiny_loaded.tokenizer.eos_token_id
        text = tiny_loaded.tokenizer.decode(made, skip_special_tokens=True)
        reason = "stop" if stopped else "length"
        assert (answer["text"], answer["tokens"]) == (text, len(made))
        assert answer["finish_reason"] == reason


def test_drawn_answers_depend_on_prompt_and_seed_alone(
    tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    drawn = answers(config(tiny_model_directory, temperature=1.0), tiny_loaded)
    alone = answers(config(tiny_model_directory, temperature=1.0, batch_size=1), tiny_loaded)
    other = answers(config(tiny_model_directory, temperature=1.0, seed=1), tiny_loaded)
    assert drawn == alone
    assert drawn != other
    settings = config(tiny_model_directory, temperature=1.0)
    turned = config(tiny_model_directory, temperature=1.0, prompts=settings.prompts[::-1])
    assert answers(turned, tiny_loaded)[::-1] == drawn


def test_two_models_alike_draw_alike_from_one_seed(
    tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    """So that a difference between two sides of a check is their weights', not the dice's."""
    settings = config(tiny_model_directory, temperature=0.7, max_new_tokens=40)
    drawn = answers(settings, tiny_loaded)
    moved = replace(tiny_loaded, model=copy.deepcopy(tiny_loaded.model))
    with torch.no_grad():
        for weight in moved.model.parameters():
            weight.mul_(1 + 1e-4)
    near = answers(settings, moved)
    dice = answers(replace(settings, seed=1), tiny_loaded)
    same = [one["text"] == other["text"] for one, other in zip(drawn, near, strict=True)]
    assert sum(same) >= len(same) - 1
    assert not any(one["text"] == other["text"] for one, other in zip(drawn, dice, strict=True))


def test_answers_are_shown_while_they_are_written(
    tiny_model_directory: Path, attempt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluation import generation

    monkeypatch.setattr(generation, "STREAM_SECONDS", 0.0)
    prompt = {"sha256": "h", "messages": [{"role": "user", "content": "Hi"}]}
    record = {"action": "generate", "model": str(tiny_model_directory), "prompts": [prompt]}
    how = {"max_new_tokens": 6, "device": "cpu", "temperature": 0.0, "stream": True}
    code, directory = attempt(record | how)
    assert code == 0
    events = logged_events(directory / "events.jsonl")
    texts = [event["text"] for event in events if event["event"] == "text"]
    assert {event["key"] for event in events if event["event"] == "text"} == {"h"}
    (line,) = (directory / "output/generations.jsonl").read_text().splitlines()
    assert len(texts) == json.loads(line)["tokens"]
    assert texts == sorted(texts, key=len)
    assert texts[-1] == json.loads(line)["text"]


def test_the_template_is_given_its_arguments(tiny_model_directory: Path, tiny_loaded: Any) -> None:
    tokenizer = copy.copy(tiny_loaded.tokenizer)
    tokenizer.chat_template = "{{ messages[0].content }}{{ '!' if loud is defined and loud }}"
    loaded = replace(tiny_loaded, tokenizer=tokenizer)

    def asked(**arguments: Any) -> str:
        settings = config(tiny_model_directory, template_arguments=arguments)
        return str(tokenizer.decode(prompts_encode(settings, loaded)[0]))

    assert [asked(), asked(loud=True), asked(loud=False)] == ["Hi", "Hi!", "Hi"]
    with pytest.raises(EngineError, match="knows no such thing"):
        asked(lowd=True)
    with pytest.raises(ConfigError, match="is not a plain value"):
        asked(loud=None)


def test_thinking_that_is_cut_is_not_taken_for_the_answer(
    tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    """Most templates of models that think write the opening mark themselves."""
    settings = config(tiny_model_directory, max_new_tokens=6)
    for opens in ("<think>\n", "[THINK]", ""):
        tokenizer = copy.copy(tiny_loaded.tokenizer)
        tokenizer.chat_template = "{{ messages[0].content }}\nAnswer: " + opens
        for answer in answers(settings, replace(tiny_loaded, tokenizer=tokenizer)):
            said = answer_split(answer["text"])[1]
            assert (said == "") == bool(opens), answer["text"]
            assert answer["tokens"] <= 6


def test_who_does_not_ask_for_it_is_shown_nothing(tiny_model_directory: Path, attempt: Any) -> None:
    prompt = {"sha256": "h", "messages": [{"role": "user", "content": "Hi"}]}
    record = {"action": "generate", "model": str(tiny_model_directory), "prompts": [prompt]}
    _, directory = attempt(record | {"max_new_tokens": 4, "device": "cpu"})
    assert "text" not in {one["event"] for one in logged_events(directory / "events.jsonl")}


def test_an_answer_stops_at_the_end_of_its_turn(
    tiny_model_directory: Path, tiny_loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(tiny_model_directory)
    before = answers(settings, tiny_loaded)[0]
    first = prompts_encode(settings, tiny_loaded)[0]
    end = greedy_by_hand(first, tiny_loaded, 3)[2]
    monkeypatch.setattr(tiny_loaded.model.generation_config, "eos_token_id", [end])
    after = answers(settings, tiny_loaded)[0]
    assert after["finish_reason"] == "stop"
    assert after["tokens"] <= 3 < before["tokens"]


def test_an_attempt_writes_answers_in_the_order_of_the_prompts(
    tiny_model_directory: Path, attempt: Any
) -> None:
    prompts = [
        {"sha256": f"h{i}", "messages": [{"role": "user", "content": text}]}
        for i, text in enumerate(TEXTS)
    ]
    record = {"action": "generate", "model": str(tiny_model_directory), "prompts": prompts}
    code, directory = attempt(record | {"max_new_tokens": 4, "device": "cpu"})
    assert code == 0
    lines = [json.loads(line) for line in (directory / "output/generations.jsonl").open()]
    assert [line["sha256"] for line in lines] == ["h0", "h1", "h2", "h3", "h4"]
    assert set(lines[0]) == {"sha256", "text", "tokens", "finish_reason"}
    done = logged_events(directory / "events.jsonl")[-1]
    assert done["event"] == "done" and done["summary"]["answer_count"] == 5


@pytest.mark.parametrize(
    ("content", "words"), [("long " * 1000, "too many"), (None, "chat template")]
)
def test_prompts_that_cannot_be_asked_are_refused(
    tmp_path: Path, attempt: Any, content: str | None, words: str
) -> None:
    from tests.tiny_model import tiny_model_write

    model = tiny_model_write(tmp_path / "model")
    if content is None:
        settings = json.loads((model / "tokenizer_config.json").read_text())
        del settings["chat_template"]
        (model / "tokenizer_config.json").write_text(json.dumps(settings))
    message = {"role": "user", "content": content or "hello"}
    prompts = [{"sha256": "h", "messages": [message]}]
    code, directory = attempt({"action": "generate", "model": str(model), "prompts": prompts})
    assert code == 2
    assert words in logged_events(directory / "events.jsonl")[-1]["message"]


def test_an_answer_ends_where_the_models_context_does(
    tmp_path: Path, tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    settings = config(tiny_model_directory, max_new_tokens=40)
    free = answers(settings, tiny_loaded)
    lengths = [len(ids) for ids in prompts_encode(settings, tiny_loaded)]
    limit = max(lengths) + 7
    warnings: list[str] = []
    short = answers_generate(
        settings,
        replace(tiny_loaded, context_limit_tokens=limit),
        8,
        on_token=lambda share: None,
        on_warning=warnings.append,
    )
    assert [one["tokens"] for one in short] == [
        min(one["tokens"], limit - length) for one, length in zip(free, lengths, strict=True)
    ]
    assert min(one["tokens"] for one in short) == 7
    assert "the longest prompt 7" in warnings[0]


def test_marks_of_reasoning_stay_in_the_text_and_other_special_tokens_do_not(
    tmp_path: Path,
) -> None:
    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    from evaluation.generation import _answer
    from tests.tiny_model import tiny_tokenizer_write

    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_write(tmp_path))
    special = [AddedToken(mark, special=True) for mark in ("[THINK]", "[/THINK]")]
    tokenizer.add_tokens(special)
    written = "[THINK]two and two[/THINK]<|im_start|>4<|im_end|>"
    ids = tokenizer(written, add_special_tokens=False)["input_ids"]
    assert len(ids) == len("two and two4") + 4
    loaded = SimpleNamespace(tokenizer=tokenizer)
    answer = _answer("p", ids, {tokenizer.eos_token_id}, loaded)  # type: ignore[arg-type]
    assert answer["text"] == "[THINK]two and two[/THINK]4"
    assert answer_split(answer["text"]) == ("two and two", "4")
