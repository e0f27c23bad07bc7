"""Watching what is forgotten: probes and divergence by hand, weights untouched, the brake."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from transformers import AutoModelForCausalLM

from corpus.conversations import ChatEncoder
from engine.checks import ConfigError
from engine.process import BAD_INPUT, DONE
from tests.training.toys import batch_ingest, conversation, events_of
from training.__main__ import main
from training.config import RunConfig, example_config
from training.defences.divergence import ParentDivergence, prompts_choose
from training.defences.likelihood import reading, target_places
from training.defences.probe import probes_build
from training.samples import curriculum_build

Recipe = dict[str, Any]
MakeRun = Callable[..., Path]
CPU = torch.device("cpu")
TEXTS = [f"{number}. NOTHING LIKE {number * 7919} HERE: {number * 104729}!" for number in range(12)]
NAME = "probe_perplexity_per_token/h1"


def texts_write(path: Path, texts: list[str] = TEXTS) -> str:
    records = [{"text": t, "sha256": hashlib.sha256(t.encode()).hexdigest()} for t in texts]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


@pytest.fixture
def probed(recipe: Recipe, tmp_path: Path) -> Recipe:
    """A recipe with a text probe, watched at every second step."""
    probe = {"key": "h1", "name": "Odd text", "path": texts_write(tmp_path / "texts.jsonl")}
    return {**recipe, "probes": [probe], "watch": {"watch_every_steps": 2}}


@pytest.fixture
def model(tiny_model_directory: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model_directory)


def metrics_of(directory: Path, attempt: int = 0) -> dict[int, dict[str, Any]]:
    events = events_of(directory, attempt)
    return {e["step"]: e["values"] for e in events if e["event"] == "metric"}


def weights_of(directory: Path, attempt: int = 0) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(directory / f"attempts/{attempt}/output/model.safetensors")


def are_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def mean_nats(model: Any, examples: list[tuple[list[int], list[int]]]) -> float:
    """By hand: the mean over the tokens at the places given."""
    nats, tokens = 0.0, 0
    for ids, places in examples:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, [p - 1 for p in places]]
        nats += cross_entropy(
            logits, torch.tensor([ids[p] for p in places]), reduction="sum"
        ).item()
        tokens += len(places)
    return nats / tokens


def test_probes_are_the_texts_and_each_batchs_held_out_examples(
    probed: Recipe, model: Any, tmp_path: Path, tiny_model_directory: Path
) -> None:
    records = [conversation(number, decisions=2, any_side=True) for number in range(40)]
    path = batch_ingest(tmp_path / "batch", tiny_model_directory, records)
    batch = {"key": "b2", "name": "Held", "kind": "dream", "path": str(path)}
    recipe = {**probed, "batches": [*probed["batches"], batch]}
    config = RunConfig.from_json({**recipe, "watch": {"watch_probe_tokens": 300}})
    encoder = ChatEncoder.from_directory(tiny_model_directory)
    curriculum = curriculum_build(config, encoder, 2048)
    texts, held = probes_build(config, curriculum.pools, encoder)
    assert (texts.key, texts.is_general) == ("h1", True)
    assert (held.key, held.is_general) == ("b2", False), "b1 has none"
    ids = [list(text.encode()) for text in reversed(TEXTS)]
    used = [ids[number] for number in range(len(texts.examples) - 1)]
    assert [one.token_ids for one in texts.examples[:-1]] == used
    assert sum(len(one.token_ids) for one in texts.examples) == 300
    held_out = [sample.encoded for sample in curriculum.pools[1].held_out]
    assert all(any(one is other for other in held_out) for one in held.examples)
    assert sum(len(one.token_ids) for one in held.examples) <= 300
    with reading(model):
        result = texts.nats_per_token(model, CPU), held.nats_per_token(model, CPU)
    whole = [(one.token_ids, list(range(1, len(one.token_ids)))) for one in texts.examples]
    answers = [(one.token_ids, target_places(one)) for one in held.examples]
    expected = mean_nats(model, whole), mean_nats(model, answers)
    assert result == pytest.approx(expected, rel=1e-5)


def test_divergence_is_that_of_the_parents_predictions(
    recipe: Recipe, model: Any, tiny_model_directory: Path
) -> None:
    config = RunConfig.from_json(recipe)
    encoder = ChatEncoder.from_directory(tiny_model_directory)
    samples = curriculum_build(config, encoder, 2048).samples
    prompts = prompts_choose(samples, 100, seed=0)
    assert sum(len(places) for _, places in prompts) == 100
    assert prompts_choose(samples, 10_000, seed=0)[:3] == prompts[:3]
    moved = AutoModelForCausalLM.from_pretrained(tiny_model_directory)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    with reading(model), reading(moved):
        divergence = ParentDivergence(model, prompts, CPU)
        assert divergence.measure(model) == pytest.approx(0.0, abs=1e-7)
        result = divergence.measure(moved)
    total, tokens = 0.0, 0
    for example, places in prompts:
        ids, rows = torch.tensor([example.token_ids]), [place - 1 for place in places]
        with torch.no_grad():
            parent = log_softmax(model(input_ids=ids).logits[0, rows].double(), -1)
            here = log_softmax(moved(input_ids=ids).logits[0, rows].double(), -1)
        total += kl_div(here, parent, reduction="sum", log_target=True).item()
        tokens += len(places)
    assert result == pytest.approx(total / tokens, rel=1e-4)
    assert result > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("method", "context_frozen"), [("adamw", True), ("lora", False)])
def test_watching_changes_no_bit_of_the_weights(
    probed: Recipe,
    run_directory: MakeRun,
    tmp_path: Path,
    tiny_model_directory: Path,
    method: str,
    context_frozen: bool,
) -> None:
    """With dropout, which draws random numbers at every step."""
    import shutil

    parent = Path(shutil.copytree(tiny_model_directory, tmp_path / "dropout"))
    settings = json.loads((parent / "config.json").read_text())
    (parent / "config.json").write_text(json.dumps({**settings, "attention_dropout": 0.2}))
    change = {"method": {"name": method}, "context_frozen": context_frozen, "model": str(parent)}
    watched = run_directory(probed, **change, diagnostics={"diagnostics_share": 1.0})
    unwatched = run_directory(probed, **change, probes=[], watch={"watch_every_steps": 0})
    assert main([str(watched)]) == main([str(unwatched)]) == DONE
    assert are_equal(weights_of(watched), weights_of(unwatched))
    result = metrics_of(watched)
    assert {"kl_to_parent_nats", NAME} <= result[10].keys()
    assert result[10]["kl_to_parent_nats"] > 0
    assert not any("kl" in name or "probe" in name for name in metrics_of(unwatched)[10])


def braked(recipe: Recipe, run_directory: MakeRun, **changes: Any) -> Path:
    directory = run_directory(recipe, **changes)
    assert main([str(directory)]) == DONE
    return directory


@pytest.mark.slow
def test_the_brake_keeps_the_weights_of_the_last_look_within_the_limit(
    probed: Recipe, run_directory: MakeRun
) -> None:
    free = braked(probed, run_directory, diagnostics={"diagnostics_share": 1.0})
    seen = {step: values[NAME] for step, values in metrics_of(free).items() if NAME in values}
    rises = {step: value / seen[0] - 1 for step, value in seen.items()}
    assert rises[8] > rises[4] > 0, "this text gets worse"
    limit = (rises[4] + rises[6]) / 2
    watch = {"watch_every_steps": 2, "brake_rise": limit}
    directory = braked(probed, run_directory, watch=watch, epochs=2)
    summary = events_of(directory)[-1]["summary"]
    assert summary["brake"]["kept_step"] == 4
    assert summary["brake"]["step"] == summary["steps"] == 6
    assert summary["brake"]["probe"] == "Odd text"
    assert summary["brake"]["rise"] == pytest.approx(rises[6], rel=1e-4)
    (warning,) = [e for e in events_of(directory) if e.get("where") == "watch.brake_rise"]
    assert "after step 6" in warning["message"]
    assert "those of step 4" in warning["message"]
    shorter = braked(probed, run_directory, max_steps=4)
    assert are_equal(weights_of(directory), weights_of(shorter))
    other = events_of(shorter)[-1]["summary"]
    assert summary["displacement"] == pytest.approx(other["displacement"], rel=1e-6)
    assert summary["update_norm"] == pytest.approx(other["update_norm"], rel=1e-6)


def test_a_brake_at_the_first_look_leaves_the_parents_weights(
    probed: Recipe, run_directory: MakeRun, tiny_model_directory: Path
) -> None:
    from safetensors.torch import load_file

    watch = {"watch_every_steps": 2, "brake_rise": 1e-6}
    directory = braked(probed, run_directory, watch=watch)
    assert events_of(directory)[-1]["summary"]["brake"]["kept_step"] == 0
    parent = load_file(tiny_model_directory / "model.safetensors")
    assert are_equal(weights_of(directory), parent)
    assert any("the parent's own" in e.get("message", "") for e in events_of(directory))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "save_every_steps"), [("adamw", 4), ("lora", 3)])
def test_a_resumed_session_brakes_where_an_uninterrupted_one_does(
    probed: Recipe, run_directory: MakeRun, method: str, save_every_steps: int
) -> None:
    """The state is from the step of the weights that are kept, or from a later one."""
    change = {
        "method": {"name": method},
        "save_every_steps": save_every_steps,
        "max_steps": 6,
    }
    free = braked(probed, run_directory, **change, diagnostics={"diagnostics_share": 1.0})
    seen = {step: values[NAME] for step, values in metrics_of(free).items() if NAME in values}
    limit = (seen[2] + seen[6]) / 2 / seen[0] - 1
    assert seen[6] > seen[2]
    change["watch"] = {"watch_every_steps": 2, "brake_rise": limit}
    change["max_steps"] = 10
    whole = braked(probed, run_directory, **change)
    brake = events_of(whole)[-1]["summary"]["brake"]
    state = next(Path(e["path"]) for e in events_of(whole) if e["event"] == "saved")
    assert brake["step"] > save_every_steps
    again = run_directory(json.loads((whole / "config.json").read_text()))
    assert main([str(again), "--attempt", "1", "--resume", str(state)]) == DONE
    assert events_of(again, 1)[-1]["summary"]["brake"] == brake
    assert are_equal(weights_of(whole), weights_of(again, 1))


def test_the_brake_looks_at_every_turn_whatever_it_costs(
    probed: Recipe, run_directory: MakeRun
) -> None:
    watch = {"watch_every_steps": 2, "brake_rise": 1e6}
    share = {"diagnostics_share": 1e-6}
    directory = braked(probed, run_directory, watch=watch, diagnostics=share)
    seen = [step for step, values in metrics_of(directory).items() if NAME in values]
    assert seen == [0, 2, 4, 6, 8, 10]
    measured = [s for s, v in metrics_of(directory).items() if "kl_to_parent_nats" in v]
    assert measured == [10], "what the brake does not need keeps to its share"
    assert "brake" not in events_of(directory)[-1]["summary"]


def test_a_brake_without_general_text_is_refused_by_name(
    recipe: Recipe, run_directory: MakeRun
) -> None:
    """The batch is general, but nothing of it is held out."""
    directory = run_directory(recipe, watch={"brake_rise": 0.05})
    assert main([str(directory)]) == BAD_INPUT
    error = events_of(directory)[-1]
    assert error["where"] == "watch.brake_rise"
    assert "held-out text" in error["cure"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"watch": {"watch_every_steps": -1}}, "watch.watch_every_steps"),
        ({"watch": {"watch_probe_tokens": 1}}, "watch.watch_probe_tokens"),
        ({"watch": {"watch_kl_tokens": 0}}, "watch.watch_kl_tokens"),
        ({"watch": {"brake_rise": 0}}, "watch.brake_rise"),
        ({"watch": {"brake_rise": 0.1, "watch_every_steps": 0}}, "watch.brake_rise"),
        ({"watch": {"watch_every_steps": 0}}, "probes"),
        ({"probes": [{"key": "b1", "name": "P", "path": "p"}]}, "probes.key"),
        ({"probes": [{"key": "h/1", "name": "P", "path": "p"}]}, "probes.key"),
        ({"probes": [{"key": "h1", "name": "P"}]}, "probes[0].path"),
        ({"probes": "p"}, "probes"),
        (
            {"probes": [], "batches": example_config()["batches"][:1], "watch": {"brake_rise": 1}},
            "watch.brake_rise",
        ),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_json({**example_config(), **change})
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ('{"text": "abc", "sha256": "0"}\n', "line 1"),
        ("not json\n", "line 1"),
        (b"\xff\xfe", "no UTF-8"),
        ("", "no document"),
    ],
)
def test_texts_that_cannot_be_read_are_refused_by_file_and_line(
    recipe: Recipe, run_directory: MakeRun, tmp_path: Path, content: Any, words: str
) -> None:
    path = tmp_path / "odd.jsonl"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    probe = {"key": "h1", "name": "Odd", "path": str(path)}
    directory = run_directory(recipe, probes=[probe])
    assert main([str(directory)]) == BAD_INPUT
    error = events_of(directory)[-1]
    assert error["where"] == "probes[0].path"
    assert words in error["message"]


def test_the_perplexity_of_what_is_no_number_any_more_is_past_every_limit() -> None:
    from training.defences.probe import perplexity

    assert perplexity(math.log(20.0)) == pytest.approx(20.0)
    assert perplexity(math.nan) == perplexity(1e9) == math.inf
