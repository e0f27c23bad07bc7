"""Whole runs of the tiny model, in process: outputs, refusals, divergence, memory, order."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.manifest import manifest_check
from engine.process import BAD_INPUT, DIVERGED, DONE, OUT_OF_MEMORY
from tests.training.toys import batch_ingest, conversation, events_of
from training.__main__ import main

Recipe = dict[str, Any]
MakeRun = Callable[..., Path]


def weights_of(directory: Path, attempt: int = 0) -> dict[str, torch.Tensor]:
    return load_file(directory / "attempts" / str(attempt) / "output" / "model.safetensors")


def metrics_of(directory: Path, attempt: int = 0) -> list[dict[str, Any]]:
    return [e for e in events_of(directory, attempt) if e["event"] == "metric"]


def error_of(directory: Path) -> dict[str, Any]:
    (error,) = [e for e in events_of(directory) if e["event"] == "error"]
    assert error["message"]
    assert error["cure"]
    return error


def assert_equal_weights(first: Path, second: Path, second_attempt: int = 0) -> None:
    ours, theirs = weights_of(first), weights_of(second, second_attempt)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("method", ["adamw", "apollo", "apollo_mini", "lora"])
def test_a_run_gives_a_plain_directory_that_says_how_it_was_made(
    recipe: Recipe, run_directory: MakeRun, tiny_model_directory: Path, method: str
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = run_directory(recipe, method={"name": method}, learning_rate=1e-4)
    assert main([str(directory)]) == DONE
    output = directory / "attempts/0/output"
    manifest = manifest_check(output)
    summary = events_of(directory)[-1]["summary"]
    assert summary["manifest_sha256"] == manifest["sha256"]
    assert summary["steps"] == summary["examples"] == 10
    made = AutoModelForCausalLM.from_pretrained(output)
    parent = AutoModelForCausalLM.from_pretrained(tiny_model_directory)
    moved = sum(
        (a.double() - b.double()).square().sum().item()
        for a, b in zip(made.parameters(), parent.parameters(), strict=True)
    )
    assert summary["displacement"] == pytest.approx(moved**0.5, rel=1e-4)
    assert summary["displacement_pretrained"] == summary["displacement"]
    assert AutoTokenizer.from_pretrained(output).chat_template
    assert json.loads((output / "recipe.json").read_text())["recipe"]["method"]["name"] == method
    assert method in (output / "README.md").read_text()
    assert "adapter_model.safetensors" not in manifest["files"]


def test_every_step_is_measured(recipe: Recipe, run_directory: MakeRun) -> None:
    directory = run_directory(recipe, epochs=2, examples_per_step=3)
    assert main([str(directory)]) == DONE
    metrics = metrics_of(directory)
    assert [event["step"] for event in metrics] == list(range(1, 8))
    for event in metrics:
        values = event["values"]
        assert (
            values["loss_nats"] == values["loss_nats/batch/b1"] == values["loss_nats/kind/general"]
        )
        for name in ("gradient_norm", "decision_tokens_per_second", "memory_bytes"):
            assert values[name] > 0
    assert metrics[-1]["values"]["epoch"] == pytest.approx(2.0)
    assert metrics[-1]["values"]["loss_nats"] < metrics[0]["values"]["loss_nats"]
    assert "displacement" in metrics[0]["values"]
    assert (
        metrics[-1]["values"]["displacement"] == events_of(directory)[-1]["summary"]["displacement"]
    )
    summary = events_of(directory)[-1]["summary"]
    assert summary["session_seconds"] > summary["seconds"] > 0
    phases = [event["phase"] for event in events_of(directory) if event["event"] == "progress"]
    assert list(dict.fromkeys(phases)) == ["loading", "training", "measuring the change", "saving"]


def test_displacement_from_the_anchor_is_not_that_from_the_parent(
    recipe: Recipe, run_directory: MakeRun
) -> None:
    first = run_directory(recipe)
    assert main([str(first)]) == DONE
    second = run_directory(recipe, model=str(first / "attempts/0/output"), seed=1)
    assert main([str(second)]) == DONE
    summary = events_of(second)[-1]["summary"]
    assert summary["displacement_pretrained"] > summary["displacement"] > 0


def test_loss_of_a_step_is_its_nats_by_its_decision_tokens(
    recipe: Recipe, run_directory: MakeRun, tiny_model_directory: Path
) -> None:
    """One step over all ten examples, against a sum by hand, frozen or not."""
    from transformers import AutoModelForCausalLM

    from corpus.conversations import ChatEncoder
    from training.config import RunConfig
    from training.frozen.streaming import masked_losses
    from training.samples import curriculum_build

    config = RunConfig.from_json(recipe)
    encoder = ChatEncoder.from_directory(tiny_model_directory)
    samples = curriculum_build(config, encoder, 2048).samples
    model = AutoModelForCausalLM.from_pretrained(tiny_model_directory)
    losses = [
        loss
        for sample in samples
        for loss in masked_losses(model, [sample.encoded], torch.device("cpu"))
    ]
    nats = sum(loss.nll_sum.item() for loss in losses)
    tokens = sum(sum(loss.token_counts) for loss in losses)
    for context_frozen in (True, False):
        directory = run_directory(recipe, examples_per_step=10, context_frozen=context_frozen)
        assert main([str(directory)]) == DONE
        (metric,) = metrics_of(directory)
        assert metric["values"]["loss_nats"] == pytest.approx(nats / tokens, rel=1e-5)
        assert events_of(directory)[-1]["summary"]["decision_tokens"] == tokens


def test_held_out_examples_are_never_trained_on(
    recipe: Recipe, run_directory: MakeRun, tmp_path: Path, tiny_model_directory: Path
) -> None:
    """Spoiling the held-out examples changes nothing; spoiling another one does."""
    records = [conversation(number, decisions=1, any_side=True) for number in range(40)]
    path = batch_ingest(tmp_path / "batch", tiny_model_directory, records)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert 0 < sum(line["held_out"] for line in lines) < 20

    def trained(name: str, spoil: Callable[[dict[str, Any]], bool]) -> Path:
        changed = json.loads(json.dumps(lines))
        for line in filter(spoil, changed):
            line["turns"][-1]["content"] = "something else entirely"
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in changed))
        batch = {**recipe["batches"][0], "path": str(tmp_path / name)}
        directory = run_directory(recipe, batches=[batch], examples_per_step=8)
        assert main([str(directory)]) == DONE
        return directory

    plain = trained("plain.jsonl", lambda line: False)
    assert_equal_weights(plain, trained("held.jsonl", lambda line: line["held_out"]))
    other = trained("other.jsonl", lambda line: not line["held_out"])
    assert not torch.equal(
        weights_of(plain)["model.norm.weight"], weights_of(other)["model.norm.weight"]
    )


def test_divergence_stops_before_the_step_and_keeps_the_curve(
    recipe: Recipe, run_directory: MakeRun
) -> None:
    directory = run_directory(
        recipe, learning_rate=1e30, max_gradient_norm=None, save_every_steps=1
    )
    assert main([str(directory)]) == DIVERGED
    metrics = metrics_of(directory)
    assert metrics[0]["values"]["loss_nats"] > 0
    assert metrics[-1]["values"]["loss_nats"] is None
    assert error_of(directory)["where"] == f"step {metrics[-1]['step']}"
    states = sorted(path.name for path in (directory / "attempts/0/trainer").iterdir())
    assert states[-1] == f"step-{metrics[-1]['step'] - 1:06d}"
    assert not (directory / "attempts/0/output").exists()


def test_running_out_of_memory_says_what_to_lower(
    recipe: Recipe, run_directory: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocator's own error: a tensor larger than any machine's memory, within a step."""
    from training import loop

    def greedy(*_: Any, **__: Any) -> Any:
        yield torch.empty(1 << 60)

    monkeypatch.setattr(loop, "frozen_losses", greedy)
    directory = run_directory(recipe)
    assert main([str(directory)]) == OUT_OF_MEMORY
    assert "max_example_tokens" in error_of(directory)["cure"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": "abc"}, "learning_rate"),
        ({"surprise": 1}, "surprise"),
        ({"model": "/nowhere"}, "model"),
        ({"anchor_model": "/nowhere"}, "anchor_model"),
        ({"max_example_tokens": 8}, "batches[0].path"),
        (
            {"batches": [{"key": "b", "name": "B", "kind": "dream", "path": "/nowhere"}]},
            "batches[0].path",
        ),
        (
            {"batches": [{"key": "b", "name": "B", "kind": "dream", "path": __file__}]},
            "batches[0].path",
        ),
    ],
)
def test_a_wrong_recipe_is_refused_by_field(
    recipe: Recipe, run_directory: MakeRun, change: dict[str, Any], where: str
) -> None:
    directory = run_directory(recipe, **change)
    assert main([str(directory)]) == BAD_INPUT
    assert error_of(directory)["where"] == where
    assert not (directory / "attempts/0/output").exists()


def test_a_gpu_that_is_not_there_is_refused(
    recipe: Recipe, run_directory: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    directory = run_directory(recipe, device="cuda")
    assert main([str(directory)]) == BAD_INPUT
    assert error_of(directory)["where"] == "device"


def test_a_model_with_pickles_or_without_a_weight_is_refused(
    recipe: Recipe, run_directory: MakeRun, tmp_path: Path, tiny_model_directory: Path
) -> None:
    from safetensors.torch import save_file

    model = Path(shutil.copytree(tiny_model_directory, tmp_path / "model"))
    (model / "extra.bin").write_bytes(b"\x80")
    directory = run_directory(recipe, model=str(model))
    assert main([str(directory)]) == BAD_INPUT
    assert "pickle" in error_of(directory)["message"]
    (model / "extra.bin").unlink()
    tensors = load_file(model / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    directory = run_directory(recipe, model=str(model))
    assert main([str(directory)]) == BAD_INPUT
    assert "lacks the weight model.layers.1.mlp.up_proj" in error_of(directory)["message"]


def test_an_output_is_never_overwritten(recipe: Recipe, run_directory: MakeRun) -> None:
    directory = run_directory(recipe, max_steps=1)
    assert main([str(directory)]) == DONE
    before = manifest_check(directory / "attempts/0/output")
    assert main([str(directory)]) == BAD_INPUT
    assert manifest_check(directory / "attempts/0/output") == before
    assert main([str(directory), "--attempt", "1"]) == DONE


def test_examples_that_are_too_long_are_counted(recipe: Recipe, run_directory: MakeRun) -> None:
    directory = run_directory(recipe, max_example_tokens=160)
    assert main([str(directory)]) == DONE
    texts = [e["message"] for e in events_of(directory) if e["event"] == "warning"]
    (text,) = [text for text in texts if "left out" in text]
    assert int(text.split()[0]) == 10 - events_of(directory)[-1]["summary"]["examples"]


@pytest.mark.parametrize("context_frozen", [True, False])
def test_conversations_together_and_one_by_one_agree(
    recipe: Recipe, tiny_model_directory: Path, tmp_path: Path, context_frozen: bool
) -> None:
    """4 conversations side by side, 2 and 2, or one by one: the same step."""
    from corpus.conversations import ChatEncoder
    from engine.attempt import Attempt
    from engine.process import StopRequest
    from tests.event_log import logged_events
    from training.config import RunConfig
    from training.frozen.batching import conversations_group
    from training.loop import Session, train
    from training.measures.meter import DisplacementMeter
    from training.measures.reporting import Reporter
    from training.models import model_load
    from training.ranks.group import ALONE
    from training.ranks.sharding import Copies
    from training.samples import curriculum_build

    encoder = ChatEncoder.from_directory(tiny_model_directory)
    weights, losses = [], []
    for together in (1, 2, 4):
        config = RunConfig.from_json(
            {
                **recipe,
                "learning_rate": 1e-4,
                "examples_per_step": 4,
                "context_frozen": context_frozen,
                "context": {"conversations_at_once": together},
            }
        )
        model, cpu = model_load(config), torch.device("cpu")
        curriculum = curriculum_build(config, encoder, 2048)
        attempt = Attempt(tmp_path, together, None, StopRequest())
        holding = Copies(model, ALONE)
        reporter = Reporter(
            device=cpu,
            config=config,
            curriculum=curriculum,
            attempt=attempt,
            displacement=DisplacementMeter(None, None, same=False),
            holding=holding,
        )
        session = Session(
            config=config,
            curriculum=curriculum,
            attempt=attempt,
            holding=holding,
            device=cpu,
            reporter=reporter,
            can_pad=True,
        )
        train(session, None, 0.0)
        weights.append([p.detach().clone() for p in model.parameters()])
        events = logged_events(tmp_path / f"attempts/{together}/events.jsonl")
        values = [event["values"] for event in events if event["event"] == "metric"]
        losses.append([v["loss_nats/batch/b1"] for v in values])
        first = curriculum.samples_of(1, 4)
        groups = conversations_group(first, config, can_pad=True)
        assert (len(groups) < 4) == (together > 1)
        assert reporter.totals.examples == 10
        assert session.step == 3
    for other in weights[1:]:
        for ours, theirs in zip(weights[0], other, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert losses[2] == pytest.approx(losses[0], rel=1e-6)
