"""The number of sequences a pass: given, found, or that of what is compared with."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.attempt import EngineError
from engine.checks import ConfigError
from evaluation import batching
from evaluation.batching import Workload, batch_size
from evaluation.config import BATCH_SIZE_MOST, BenchmarkConfig, MeasureConfig, config_from_json
from evaluation.likelihoods import CountingModel
from evaluation.prepared import BenchmarkTasks
from evaluation.workload import passes_like, workload_read
from tests.event_log import logged_events

CPU = torch.device("cpu")
WORK = Workload(scored=((1200, 40), (900, 30), (20, 10)))


def config(**fields: Any) -> MeasureConfig:
    return MeasureConfig(
        model="m", benchmarks=(BenchmarkConfig(name="b", source="lm_eval"),), **fields
    )


class Limited:
    """A device whose memory holds so many sequences."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.sizes: list[int] = []

    def __call__(self, size: int) -> None:
        self.sizes.append(size)
        if size > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes are tried on the processor too."""
    monkeypatch.setattr(batching, "is_tried", lambda device: True)


@pytest.mark.usefixtures("tried")
@pytest.mark.parametrize(("most", "size"), [(1000, 64), (64, 64), (63, 32), (5, 4), (1, 1)])
def test_the_largest_that_fits_is_found_by_halving(most: int, size: int) -> None:
    limited = Limited(most)
    result = batch_size(config(), CPU, WORK, limited)
    assert result.size == size == limited.sizes[-1]
    assert limited.sizes == [BATCH_SIZE_MOST >> i for i in range(len(limited.sizes))]
    assert result.words == "the largest of at most 64 that fits 1,200 tokens"


@pytest.mark.usefixtures("tried")
def test_where_one_does_not_fit_it_is_refused_with_the_length() -> None:
    with pytest.raises(EngineError) as refusal:
        batch_size(config(), CPU, WORK, Limited(0))
    assert refusal.value.exit_code == 4 and "1,200 tokens" in refusal.value.message


@pytest.mark.usefixtures("tried")
def test_another_error_is_not_taken_for_a_want_of_memory() -> None:
    def broken(size: int) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        batch_size(config(), CPU, WORK, broken)


@pytest.mark.usefixtures("tried")
def test_the_second_side_takes_the_number_of_the_first_or_says_that_it_cannot() -> None:
    pinned = config(batch_size=32, dtype="bfloat16", pinned_by="SmolLM2")
    limited = Limited(40)
    result = batch_size(pinned, CPU, WORK, limited)
    assert (result.size, result.words) == (32, "as SmolLM2 was measured")
    assert limited.sizes == [32]  # tried before anything is measured
    with pytest.raises(EngineError) as refusal:
        batch_size(pinned, CPU, WORK, Limited(16))
    assert refusal.value.where == "batch_size" and "SmolLM2" in refusal.value.message
    assert "measure both by it" in refusal.value.cure


def test_a_processor_takes_eight_and_tries_nothing() -> None:
    limited = Limited(0)
    result = batch_size(config(), CPU, WORK, limited)
    assert (result.size, result.words, limited.sizes) == (8, "8 on a processor", [])
    assert batch_size(config(batch_size=3), CPU, WORK, limited).words == "as asked for"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"batch_size": "many"}, "batch_size"),
        ({"pinned_by": "X"}, "dtype"),
        ({"pinned_by": "X", "dtype": "float32"}, "batch_size"),
        ({"pinned_by": ""}, "pinned_by"),
    ],
)
def test_what_cannot_be_is_named(change: dict[str, Any], where: str) -> None:
    benchmark = {"name": "local_code", "source": "local"}
    record = {"action": "measure", "model": "m", "benchmarks": [benchmark], **change}
    with pytest.raises(ConfigError) as refusal:
        config_from_json(record)
    assert refusal.value.where == where


def test_the_logits_of_the_largest_batch_are_those_of_the_one_with_most_places() -> None:
    assert WORK.longest_tokens == 1200
    assert WORK.kept(1) == 40
    assert WORK.kept(2) == 1200 - 870
    assert WORK.kept(3) == 1200 - 10


def test_the_tried_pass_is_as_large_as_the_largest_that_is_measured(
    task_make: Any, tiny_loaded: Any
) -> None:
    """Lengths against those of the passes themselves."""
    docs = [{"question": "q" * i, "target": "a", "choices": ["a", "bcd" * i]} for i in (1, 9, 30)]
    task = task_make(
        "lengths",
        docs,
        output_type="multiple_choice",
        doc_to_choice="choices",
        doc_to_target="target",
    )
    settings = config()
    prepared = BenchmarkTasks(
        config=settings.benchmarks[0], tasks={"lengths": task}, indices={}, item_count=3
    )
    model = CountingModel(tiny_loaded, settings, batch_size=2)
    workload = workload_read([prepared], model, settings)
    seen: list[tuple[int, int, int]] = []

    def note(module: Any, args: Any, output: Any) -> None:
        seen.append((*args[0].shape, output.logits.shape[1]))

    handle = tiny_loaded.model.register_forward_hook(note)
    try:
        passes_like(workload, model)(2)
        (largest,) = seen
        seen.clear()
        from evaluation.benchmarks import benchmark_measure

        benchmark_measure(prepared, model, settings, lambda share: None)
    finally:
        handle.remove()
    assert largest[0] == 2
    assert max(tokens for _, tokens, _ in seen) == largest[1]
    assert 0 <= largest[2] - max(kept for _, _, kept in seen) <= 2


_PROGRAM = """
import sys
import torch
from evaluation import batching
from evaluation.__main__ import main
from transformers import LlamaForCausalLM

batching.is_tried = lambda device: True
forward = LlamaForCausalLM.forward

def limited(self, input_ids=None, **more):
    if input_ids.shape[0] > int(sys.argv[1]):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return forward(self, input_ids=input_ids, **more)

LlamaForCausalLM.forward = limited
sys.exit(main(sys.argv[2:]))
"""


def run(directory: Path, config: dict[str, Any], most: int) -> tuple[int, Path]:
    """An engine process of its own, in whose memory no more than `most` sequences fit."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-c", _PROGRAM, str(most), str(directory)]
    done = subprocess.run(command, check=False, capture_output=True)
    return done.returncode, directory / "attempts/0"


def test_a_process_finds_its_number_writes_it_down_and_hands_it_to_the_second_side(
    measure_config: dict[str, Any], tmp_path: Path, attempt: Any
) -> None:
    code, first = run(tmp_path / "first", measure_config, 5)
    assert code == 0
    settings = json.loads((first / "output/settings.json").read_text())
    assert (settings["batch_size"], settings["dtype"]) == (4, "float32")
    assert settings["batch_size_why"].startswith("the largest of at most 64 that fits ")
    assert "finding how many sequences fit a pass" in {
        one.get("phase") for one in logged_events(first / "events.jsonl")
    }
    plain = measure_config | {"batch_size": 4}
    code, asked = attempt(plain)
    assert code == 0
    for name in ("scores.json", "samples.jsonl", "documents.jsonl"):
        assert (asked / "output" / name).read_text() == (first / "output" / name).read_text()

    pinned = measure_config | {"batch_size": 4, "dtype": "float32", "pinned_by": "the parent"}
    code, second = run(tmp_path / "second", pinned, 3)
    last = logged_events(second / "events.jsonl")[-1]
    assert (code, last["where"]) == (4, "batch_size") and "the parent" in last["message"]


def test_an_attempt_that_goes_on_takes_the_number_of_the_first(
    measure_config: dict[str, Any], tmp_path: Path, attempt: Any
) -> None:
    """Found on one machine, gone on with on another, where it would be 8."""
    code, first = run(tmp_path / "job", measure_config, 2)
    assert code == 0
    scores = "local_arithmetic"
    for part in (first / "parts").glob("*.json"):
        if scores in json.loads(part.read_text())["name"]:
            part.unlink()
    code, second = attempt(measure_config, "--attempt", "1", "--resume", str(first / "parts"))
    assert code == 0
    settings = json.loads((second / "output/settings.json").read_text())
    assert settings["batch_size"] == 2
    both = [(one / "output/samples.jsonl").read_text() for one in (first, second)]
    assert both[0] == both[1]
