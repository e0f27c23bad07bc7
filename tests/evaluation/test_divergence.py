"""Forward KL to the parent against a hand computation, and who is not to be compared."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.event_log import logged_events
from tests.tiny_model import tiny_model_write


@pytest.fixture(scope="module")
def parent_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another tiny model with the same tokenizer."""
    return tiny_model_write(tmp_path_factory.mktemp("parent") / "model", seed=5)


def figures(directory: Path) -> tuple[list[dict[str, Any]], Any]:
    scores = json.loads((directory / "output/scores.json").read_text())["scores"]
    settings = json.loads((directory / "output/settings.json").read_text())
    return [one for one in scores if one["metric"] == "forward_kl_nats"], settings["divergence"]


def by_hand(parent: Path, loaded: Any, texts: list[str], positions: int) -> tuple[float, list[int]]:
    """Mean KL(parent ‖ model) over the first positions of the texts, in double precision."""
    from transformers import AutoModelForCausalLM

    other = AutoModelForCausalLM.from_pretrained(parent)
    total, counts = 0.0, []
    for text in texts:
        ids = torch.tensor([[loaded.prefix_token_id, *text.encode()[:positions]]])
        with torch.no_grad():
            p, q = (
                model(ids).logits[0, :-1].double().log_softmax(-1)
                for model in (other, loaded.model)
            )
        total += float((p.exp() * (p - q)).sum())
        counts.append(ids.shape[1] - 1)
    return total / sum(counts), counts


def test_it_is_the_mean_over_the_first_tokens_of_held_out_texts(
    measure_config: dict[str, Any], attempt: Any, parent_directory: Path, tiny_loaded: Any
) -> None:
    config = measure_config | {"benchmarks": [], "parent": str(parent_directory)}
    code, directory = attempt(config)
    assert code == 0
    (score,), took = figures(directory)
    lines = Path(config["held_out"][0]["path"]).read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    mean, counts = by_hand(parent_directory, tiny_loaded, texts, 64)
    assert score["value"] == pytest.approx(mean, rel=1e-4) and mean > 0.001
    assert (score["benchmark"], score["n"], score["unit"]) == ("k1", 3, "nats")
    assert score["stderr"] > 0
    assert took == {"tokens": sum(counts), "memory_bytes": sum(counts) * 260 * 4}


def test_a_model_does_not_differ_from_itself_and_the_budget_is_kept(
    measure_config: dict[str, Any], attempt: Any
) -> None:
    code, directory = attempt(
        measure_config | {"benchmarks": [], "parent": measure_config["model"], "kl_tokens": 70}
    )
    assert code == 0
    (score,), took = figures(directory)
    assert score["value"] == pytest.approx(0.0, abs=1e-6)
    assert took["tokens"] == 70 and score["n"] == 2


def test_sessions_are_compared_on_their_decisions(
    measure_config: dict[str, Any], attempt: Any, parent_directory: Path, tmp_path: Path
) -> None:
    turns = [
        {"role": "user", "content": "What?"},
        {"role": "assistant", "content": "That.", "train": True},
    ]
    line = {"line": 1, "sha256": "a" * 64, "held_out": True, "turns": turns}
    path = tmp_path / "examples.jsonl"
    path.write_text(json.dumps(line) + "\n")
    session = {"key": "3", "name": "Talks", "path": str(path)}
    alone = {"benchmarks": [], "held_out": [], "sessions": [session]}
    code, directory = attempt(measure_config | alone | {"parent": str(parent_directory)})
    assert code == 0
    (score,), took = figures(directory)
    assert (score["benchmark"], score["n"], score["stderr"]) == ("session:3", 1, None)
    assert took["tokens"] == len(b"That.") + 1  # and the end of the turn


def test_the_parent_is_not_asked_again_by_an_attempt_that_goes_on(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path
) -> None:
    parent = tiny_model_write(tmp_path / "parent", seed=5)
    config = measure_config | {"benchmarks": [], "parent": str(parent)}
    code, first = attempt(config)
    assert code == 0
    (parent / "model.safetensors").rename(parent / "gone.safetensors")
    code, second = attempt(config, "--attempt", "1", "--resume", str(first / "parts"))
    assert code == 0
    assert figures(first) == figures(second)


def test_a_parent_that_cannot_be_compared_with_is_named(
    measure_config: dict[str, Any], attempt: Any, parent_directory: Path, tmp_path: Path
) -> None:
    other = tiny_model_write(tmp_path / "other", seed=1)
    text = (other / "tokenizer.json").read_text().replace("<|pad|>", "<|pod|>")
    (other / "tokenizer.json").write_text(text)
    nothing: dict[str, Any] = {"held_out": [], "parent": str(parent_directory)}
    for number, (change, words) in enumerate(
        [
            ({"parent": str(other)}, "tokenizer is not the model's"),
            ({"parent": str(tmp_path / "nowhere")}, "model"),
            (nothing, "nothing to compare"),
        ]
    ):
        code, directory = attempt(measure_config | change, "--attempt", str(number))
        last = logged_events(directory / "events.jsonl")[-1]
        assert (code, last["where"]) == (2, "parent"), last
        assert words in last["message"] and last["cure"]
        assert not (directory / "output").exists()
