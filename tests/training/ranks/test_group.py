"""Several processes for one run: two over gloo, with unequal numbers of decisions."""

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from corpus.conversations import ChatEncoder
from engine.attempt import Attempt
from engine.process import DIVERGED, DONE, STOPPED, StopRequest
from engine.states import state_check
from tests.training.processes import Child
from tests.training.toys import batch_ingest, conversation, events_of, recipe_of
from training.__main__ import main
from training.config import RunConfig
from training.ranks.group import shares
from training.ranks.launch import Launch
from training.samples import curriculum_build

QUIET = {"gradient_cosine": False, "sharpness": False, "change_rank": False}
SAME = {
    "diagnostics": QUIET,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "warmup_steps": 2,
    "examples_per_step": 3,
}
"""Six steps, a state after the fourth; the last has one example, so one of the ranks has none."""
LONG = {"max_steps": 40, "epochs": 8, "save_every_steps": 100}
TWO: dict[str, Any] = {"processes": 2}
SHARDED: dict[str, Any] = {"processes": 2, "sharding": "fsdp2"}
EWC = {"ewc_strength": 100.0, "ewc_examples": 3}
SIDE_BY_SIDE = {"conversations_at_once": 2, "grad_window": 4}
MASK = {"mask_below_probability": 0.003}
CASES: dict[str, dict[str, Any]] = {
    "adamw": {"method": {"name": "adamw"}, "ranks": TWO, "diagnostics": {}},
    "apollo": {"method": {"name": "apollo"}, "ranks": TWO, "context": SIDE_BY_SIDE},
    "lora": {"method": {"name": "lora"}, "ranks": TWO},
    "defended": {"method": {"name": "adamw"}, "ranks": TWO, "defences": {**EWC, **MASK}},
    "adamw-fsdp2": {
        "method": {"name": "adamw"},
        "ranks": SHARDED,
        "defences": MASK,
        "diagnostics": {},
    },
    "lora-fsdp2": {"method": {"name": "lora"}, "ranks": SHARDED, "context": SIDE_BY_SIDE},
    "apollo-fsdp2": {"method": {"name": "apollo", "rank": 8}, "ranks": SHARDED},
    "mini-fsdp2": {"method": {"name": "apollo_mini"}, "ranks": SHARDED, "context": SIDE_BY_SIDE},
    "defended-fsdp2": {
        "method": {"name": "apollo"},
        "ranks": SHARDED,
        "defences": {**EWC, "l2_strength": 0.5},
    },
    "diagonal-fsdp2": {
        "method": {"name": "adamw"},
        "ranks": SHARDED,
        "defences": {**EWC, "ewc_variant": "diagonal"},
    },
}
HUNDRED: dict[str, Any] = {"max_steps": 100, "epochs": 80, "learning_rate": 3e-4, "ranks": SHARDED}
HUNDRED |= {"save_every_steps": 1000, "anchor_model": None, "watch": {"watch_every_steps": 0}}
HUNDRED |= {"max_example_tokens": 160, "examples_per_step": 2}
"""Steps of the optimizer are what matters here, so a rank has one short conversation of each."""
CASES |= {
    "apollo-hundred": {**HUNDRED, "method": {"name": "apollo", "rank": 8}},
    "mini-hundred": {**HUNDRED, "method": {"name": "apollo_mini"}},
}
CLOSE = {"apollo-hundred": 1e-5, "mini-hundred": 1e-5}
"""How far each tensor may be from one process's, of how far it has moved; else 2e-4."""
LAST_DIGIT = torch.finfo(torch.float32).eps / 2
"""And there half of the last digit: a norm's weights are near 1 and move by hundredths."""
RESUMED = ("adamw", "adamw-fsdp2", "lora-fsdp2", "apollo-fsdp2", "mini-fsdp2", "dropout")


def weights_of(directory: Path, attempt: int = 0) -> dict[str, torch.Tensor]:
    return load_file(directory / f"attempts/{attempt}/output/model.safetensors")


def states_of(directory: Path) -> list[Path]:
    return [Path(e["path"]) for e in events_of(directory) if e["event"] == "saved"]


def metrics_of(directory: Path) -> list[dict[str, Any]]:
    return [e["values"] for e in events_of(directory) if e["event"] == "metric"]


def timeless(values: dict[str, Any]) -> dict[str, Any]:
    """What a clock does not decide: neither speeds nor what is measured when there is time."""
    kept = ("loss_nats", "penalty_nats", "gradient_norm", "learning_rate", "epoch")
    return {name: value for name, value in values.items() if name.startswith(kept)}


class World:
    """What two processes did."""

    def __init__(self, root: Path, recipe: dict[str, Any]) -> None:
        self.root = root
        self.recipe = recipe

    def make(self, name: str, **changes: Any) -> Path:
        """A RUN_DIR of this name."""
        directory = self.root / name
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps({**self.recipe, **changes}))
        return directory

    def run_together(self, runs: list[tuple[Path, int, Path | None]]) -> None:
        """Do runs in the same two processes."""
        listed = [[str(d), n, None if state is None else str(state)] for d, n, state in runs]
        (self.root / "runs.json").write_text(json.dumps(listed))
        attempt = Attempt(self.root, 0, None, StopRequest())
        program = ("-m", "tests.training.rank_program")
        with Launch(attempt, 2, program=program) as launch:
            launch.follow()


@pytest.fixture(scope="module")
def stopped(world: World) -> Path:
    """A run of two processes that SIGTERM stopped, in its first attempt."""
    directory = world.make("stopped", **LONG, ranks=TWO)
    child = Child(directory)
    child.wait_for(lambda event: event["event"] == "metric" and event["step"] >= 3)
    child.process.send_signal(signal.SIGTERM)
    assert child.process.wait(timeout=60) == STOPPED
    return directory


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_directory: Path, examples_path: Path
) -> World:
    """A recipe of two batches of different kinds, and no runs yet."""
    recipe = recipe_of(tiny_model_directory, examples_path)
    root = tmp_path_factory.mktemp("ranks")
    records = [conversation(number, decisions=1 + number % 4) for number in range(20, 26)]
    dreams = batch_ingest(root / "dreams", tiny_model_directory, records)
    second = {"key": "b2", "name": "Dreams", "kind": "dream", "path": str(dreams), "weight": 0.6}
    text = "QXZ 9#~ " * 40
    document = {"text": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    (root / "probe.jsonl").write_text(json.dumps(document) + "\n")
    return World(root, {**recipe, **SAME, "batches": [*recipe["batches"], second]})


@pytest.fixture(scope="module")
def braking(world: World) -> dict[str, Any]:
    """A session on words that soon forgets what is none."""
    probe = {"key": "odd", "name": "Odd", "path": str(world.root / "probe.jsonl")}
    watch = {"watch_every_steps": 1, "brake_rise": 0.001}
    return {"probes": [probe], "watch": watch, "warmup_steps": 0, "method": {"name": "adamw"}}


@pytest.fixture(scope="module")
def done(world: World, stopped: Path, braking: dict[str, Any]) -> World:
    """Every case by two processes, then the interrupted ones again from their states."""
    dropout = Path(shutil.copytree(world.recipe["model"], world.root / "dropping"))
    settings = json.loads((dropout / "config.json").read_text())
    (dropout / "config.json").write_text(json.dumps({**settings, "attention_dropout": 0.2}))
    runs = {name: world.make(name, **case) for name, case in CASES.items()}
    runs["dropout"] = world.make("dropout", ranks=TWO, model=str(dropout), anchor_model=None)
    runs["braked"] = world.make("braked", **braking, ranks=TWO)
    runs["braked-fsdp2"] = world.make("braked-fsdp2", **braking, ranks=SHARDED)
    runs["long"] = world.make("long", **LONG, ranks=TWO)
    again = [(runs[name], 1, runs[name] / "attempts/0/trainer/step-000004") for name in RESUMED]
    stop = (stopped, 1, states_of(stopped)[-1])
    world.run_together([(directory, 0, None) for directory in runs.values()] + [*again, stop])
    return world


def test_the_ranks_have_different_numbers_of_decisions(world: World) -> None:
    """Else the rest of this file would show nothing."""
    config = RunConfig.from_json(world.recipe)
    samples = curriculum_build(config, ChatEncoder.from_directory(config.model), 2048).samples
    counts = []
    for start in range(0, len(samples), 3):
        step = samples[start : start + 3]
        dealt = shares([sample.cost(config) for sample in step], 2)
        counts.append([sum(len(step[i].encoded.decisions) for i in own) for own in dealt])
    assert 0 in counts[-1]
    assert sum(first != second for first, second in counts) >= len(counts) // 2


@pytest.fixture(scope="module")
def alone(world: World) -> Iterator[Any]:
    """`alone(name)`: the same run by one process, done once."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            case = {key: value for key, value in CASES[name].items() if key != "ranks"}
            made[name] = world.make(f"{name}-alone", **case)
            assert main([str(made[name])]) == DONE
        return made[name]

    yield make


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_make_the_weights_of_one(done: World, alone: Any, name: str) -> None:
    ours, theirs = weights_of(done.root / name), weights_of(alone(name))
    parent = load_file(Path(done.recipe["model"]) / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for tensor in ours:
        difference = (ours[tensor] - theirs[tensor]).norm()
        moved = (theirs[tensor] - parent[tensor]).norm()
        digit = LAST_DIGIT * theirs[tensor].norm() if name in CLOSE else 0
        assert difference <= CLOSE.get(name, 2e-4) * moved + digit, tensor


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_metrics_are_those_of_the_whole_step(done: World, alone: Any, name: str) -> None:
    ours, theirs = metrics_of(done.root / name), metrics_of(alone(name))
    assert len(ours) == len(theirs) > 4
    for one, other in zip(ours, theirs, strict=True):
        assert timeless(one) == pytest.approx(timeless(other), rel=1e-3)
    assert "loss_nats/kind/dream" in ours[0] or "loss_nats/kind/dream" in ours[1]
    mine = events_of(done.root / name)[-1]["summary"]
    his = events_of(alone(name))[-1]["summary"]
    for key in ("steps", "examples", "decision_tokens", "context_tokens", "trainable_parameters"):
        assert mine[key] == his[key]
    assert mine["displacement"] == pytest.approx(his["displacement"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", RESUMED)
def test_resumed_ranks_equal_uninterrupted_ones(done: World, name: str) -> None:
    """Bit for bit, also with dropout, for which each rank has random numbers of its own."""
    whole, again = weights_of(done.root / name), weights_of(done.root / name, 1)
    assert all(torch.equal(whole[tensor], again[tensor]) for tensor in whole)


@pytest.mark.slow
def test_one_process_goes_on_from_the_state_of_two(done: World, alone: Any) -> None:
    """States hold whole tensors, whoever wrote them."""
    for name in ("adamw-fsdp2", "lora-fsdp2", "apollo-fsdp2"):
        case = {key: value for key, value in CASES[name].items() if key != "ranks"}
        directory = done.make(f"{name}-on", **case)
        (state,) = states_of(done.root / name)
        assert main([str(directory), "--attempt", "1", "--resume", str(state)]) == DONE
        ours, theirs = weights_of(directory, 1), weights_of(alone(name))
        for tensor in ours:
            torch.testing.assert_close(ours[tensor], theirs[tensor], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_sigterm_saves_and_two_processes_go_on_to_the_same_weights(
    done: World, stopped: Path
) -> None:
    events = events_of(stopped)
    assert events[-1]["event"] == "saved"
    assert events[-1]["step"] == len(metrics_of(stopped)) < 40
    (state,) = states_of(stopped)
    state_check(state)
    assert (state / "rank-1" / "rng_state.pth").is_file()
    ours, theirs = weights_of(done.root / "long"), weights_of(stopped, 1)
    assert all(torch.equal(ours[tensor], theirs[tensor]) for tensor in ours)


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_all_with_one_clear_cause(world: World) -> None:
    """In the middle of a step of a model that the ranks share, where each waits for the other."""
    directory = world.make("killed", **LONG, ranks=SHARDED, method={"name": "apollo"})
    child = Child(directory)
    child.wait_for(lambda event: event["event"] == "metric" and event["step"] >= 3)
    launcher = child.process.pid
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    ranks = [int(one) for one in children]
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    assert child.process.wait(timeout=60) == 128 + signal.SIGKILL
    errors = [event for event in events_of(directory) if event["event"] == "error"]
    assert [event["message"] for event in errors] == [
        "process 2 of 2 was killed (SIGKILL), most often because memory ran out"
    ]
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)


@pytest.mark.slow
def test_divergence_ends_as_with_one_process(world: World) -> None:
    directory = world.make(
        "diverging", learning_rate=1e30, schedule="constant", warmup_steps=0,
        max_gradient_norm=None, save_every_steps=1, ranks=TWO,
    )  # fmt: skip
    child = Child(directory)
    assert child.process.wait(timeout=120) == DIVERGED
    *_, metric, error = events_of(directory)
    assert (metric["event"], error["event"]) == ("metric", "error")
    assert metric["values"]["loss_nats"] is None
    assert error["where"] == f"step {metric['step']}"
    states = sorted(path.name for path in (directory / "attempts/0/trainer").iterdir())
    assert states[-1] == f"step-{metric['step'] - 1:06d}"


@pytest.fixture(scope="module")
def braked_alone(done: World, braking: dict[str, Any]) -> Path:
    directory = done.make("braked-alone", **braking)
    assert main([str(directory)]) == DONE
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("name", ["braked", "braked-fsdp2"])
def test_a_brake_gives_back_the_weights_that_were_kept(
    done: World, braked_alone: Path, name: str
) -> None:
    """Those of the first process, or the parts of all."""
    ours, theirs = (events_of(one)[-1]["summary"] for one in (done.root / name, braked_alone))
    assert ours["brake"]["step"] == theirs["brake"]["step"] < 6
    assert ours["brake"]["kept_step"] == theirs["brake"]["kept_step"]
    again, once = weights_of(done.root / name), weights_of(braked_alone)
    for tensor in again:
        torch.testing.assert_close(again[tensor], once[tensor], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_ranks_that_share_a_model_watch_it_as_one_process_does(
    done: World, braked_alone: Path
) -> None:
    for one, other in zip(
        metrics_of(done.root / "braked-fsdp2"), metrics_of(braked_alone), strict=True
    ):
        looks = [name for name in other if name.startswith("probe_perplexity")]
        assert looks
        for name in looks:
            assert one[name] == pytest.approx(other[name], rel=1e-4)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([5, 4, 3, 3], [[0, 3], [1, 2]]),
        ([1, 1], [[0], [1]]),
        ([1, 9, 1, 1], [[1], [0, 2, 3]]),
        ([7], [[0], []]),
        ([], [[], []]),
    ],
)
def test_examples_are_dealt_out_by_their_cost(costs: list[int], expected: list) -> None:
    assert shares(costs, 2) == expected
