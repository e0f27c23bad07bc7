"""The memory of a session: by hand, against a real child's peak, and where there is too little."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.process import DONE, OUT_OF_MEMORY
from tests.training.toys import events_of
from training.__main__ import main
from training.ahead.decoder import DecoderShape
from training.ahead.memory import (
    ACTIVATIONS,
    CACHE,
    LOGITS,
    PENALTIES,
    TOLERANCE,
    WEIGHTS,
    MemoryEstimate,
    Workload,
    memory_estimate,
)
from training.ahead.memory_advice import memory_cure, memory_free_bytes
from training.config import RunConfig, example_config
from training.methods.method import GRADIENTS, OPTIMIZER

Recipe = dict[str, Any]
MakeRun = Callable[..., Path]
SHAPES = {"embed.weight": (1000, 8), "layers.0.up.weight": (32, 8), "layers.0.norm.weight": (8,)}
NUMBERS = 8000 + 256 + 8
DECODER = DecoderShape(layers=1, hidden=8, queries=8, keys=4, intermediate=32, vocabulary=1000)
WORKLOAD = Workload(longest_tokens=100, longest_decision_tokens=10)


UNWATCHED: dict[str, Any] = {"probes": [], "watch": {"watch_every_steps": 0}}


def config_of(**changes: Any) -> RunConfig:
    return RunConfig.from_json({**example_config(), **UNWATCHED, **changes})


def estimate_of(on_gpu: bool = True, **changes: Any) -> MemoryEstimate:
    return memory_estimate(
        config_of(**changes), shapes=SHAPES, decoder=DECODER, workload=WORKLOAD, on_gpu=on_gpu
    )


@pytest.mark.parametrize(
    ("method", "dtype", "state_bytes"),
    [
        ({"name": "adamw"}, "float32", 8 * NUMBERS),
        ({"name": "adamw"}, "bfloat16", 4 * NUMBERS),
        # Moments of rank 4 × 32, the projection of 4 × 8, and plain moments of all else.
        ({"name": "apollo", "rank": 4}, "float32", 8 * (4 * 32 + 8008) + 4 * 4 * 8),
        ({"name": "apollo", "rank": 4}, "bfloat16", 8 * (4 * 32 + 8008) + 2 * 4 * 8),
        ({"name": "apollo_mini"}, "float32", 8 * (32 + 8008) + 4 * 8),
        ({"name": "lora", "rank": 2}, "bfloat16", 8 * 2 * (32 + 8)),  # adapters are float32
    ],
)
def test_the_optimizers_state_by_hand(method: dict[str, Any], dtype: str, state_bytes: int) -> None:
    assert estimate_of(method=method, dtype=dtype).part_bytes(OPTIMIZER) == state_bytes


def test_weights_gradients_and_penalties_by_hand() -> None:
    result = estimate_of(method={"name": "adamw"})
    assert result.part_bytes(WEIGHTS) == result.part_bytes(GRADIENTS) == 4 * NUMBERS
    assert result.part_bytes(PENALTIES) == 0
    pulled = estimate_of(method={"name": "adamw"}, defences={"ewc_strength": 1.0})
    assert pulled.part_bytes(PENALTIES) == 4 * NUMBERS
    diagonal = {"ewc_strength": 1.0, "ewc_variant": "diagonal"}
    assert estimate_of(defences=diagonal).part_bytes(PENALTIES) == 8 * NUMBERS


def test_frozen_context_keeps_a_decisions_activations_only() -> None:
    """One decision's graph and the cache, against the whole example's graph."""
    frozen = estimate_of()
    masked = estimate_of(context_frozen=False)
    assert masked.part_bytes(ACTIVATIONS) == pytest.approx(
        100 / 11 * frozen.part_bytes(ACTIVATIONS), rel=1e-3
    )
    assert frozen.part_bytes(CACHE) > 0 == masked.part_bytes(CACHE)
    assert frozen.part_bytes(LOGITS) == masked.part_bytes(LOGITS)
    window = estimate_of(context={"grad_window": 30})
    assert window.part_bytes(ACTIVATIONS) == pytest.approx(
        40 / 11 * frozen.part_bytes(ACTIVATIONS), rel=1e-3
    )


def test_long_contexts_count_while_they_are_read() -> None:
    """A layer's own products over all of the context are then more than a decision's graph."""
    long = Workload(longest_tokens=100_000, longest_decision_tokens=10)
    config = config_of(dtype="bfloat16", method={"name": "lora", "rank": 2})
    result = memory_estimate(config, shapes=SHAPES, decoder=DECODER, workload=long, on_gpu=True)
    assert result.part_bytes(ACTIVATIONS) >= 99_990 * 3 * 32 * 2
    assert result.part_bytes(CACHE) >= 100_000 * 2 * 4 * 2


def test_shapes_are_read_from_any_decoders_config() -> None:
    llama = {
        "hidden_size": 576,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "num_hidden_layers": 30,
        "intermediate_size": 1536,
        "vocab_size": 49152,
    }
    gpt2 = {"n_embd": 768, "n_head": 12, "n_layer": 12, "vocab_size": 50257}
    result = DecoderShape.from_config(llama)
    assert (result.queries, result.keys) == (576, 192)
    assert DecoderShape.from_config({"text_config": llama}) == result
    assert DecoderShape.from_config(gpt2).intermediate == 4 * 768
    with pytest.raises(ValueError, match="num_hidden_layers"):
        DecoderShape.from_config({**llama, "num_hidden_layers": None})


def test_the_cure_names_what_frees_most_in_this_recipe() -> None:
    config = config_of(method={"name": "adamw"})
    shapes = {"layers.0.up.weight": (4096, 4096)}
    large = memory_estimate(config, shapes=shapes, decoder=DECODER, workload=WORKLOAD, on_gpu=False)
    plain = memory_cure(config, large)
    assert plain.startswith("Use APOLLO-Mini or LoRA as method (")
    assert "examples_per_step" not in plain  # they are walked one after another
    masked = memory_cure(config_of(context_frozen=False), None)
    assert masked.startswith("Set context_frozen to true; lower max_example_tokens")
    together = {"examples_per_step": 4, "context": {"conversations_at_once": 4}}
    assert "conversations_at_once to 1" in memory_cure(config_of(**together), None)
    lora = memory_cure(config_of(method={"name": "lora"}, dtype="bfloat16"), None)
    assert "LoRA" not in lora
    assert "bfloat16" not in lora


def test_a_containers_limit_counts_beside_the_machines(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 100 kB\nMemAvailable:     60 kB\n")
    control = tmp_path / "control"
    assert memory_free_bytes(meminfo, control) == 60 * 1024
    control.mkdir()
    (control / "memory.max").write_text("30000\n")
    (control / "memory.current").write_text("20000\n")
    (control / "memory.stat").write_text("anon 9000\ninactive_file 4000\n")
    assert memory_free_bytes(meminfo, control) == 14_000
    (control / "memory.max").write_text("max\n")
    assert memory_free_bytes(meminfo, control) == 60 * 1024
    assert memory_free_bytes(tmp_path / "none", tmp_path / "none") is None


def test_too_little_memory_is_warned_of_before_the_first_step(
    recipe: Recipe, run_directory: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import preflight

    monkeypatch.setattr(preflight, "memory_free_bytes", lambda: -(1 << 50))
    directory = run_directory(recipe, max_steps=1)
    assert main([str(directory)]) == DONE
    events = events_of(directory)
    places = [number for number, e in enumerate(events) if e.get("where") == "memory"]
    assert len(places) == 1
    assert "it may run out" in events[places[0]]["message"]
    assert places[0] < next(n for n, e in enumerate(events) if e["event"] == "metric")


CHILD = """
import resource, sys
from engine.packages import packages_hide
packages_hide()
import peft, torch, transformers
from training.run import run
from training.__main__ import main
# Threads take their stacks before the limit: a library that cannot start one just crashes.
torch.ones(512, 512, requires_grad=True).matmul(torch.ones(512, 512)).sum().backward()
if int(sys.argv[2]):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    size = int(status["VmData"].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (size + int(sys.argv[2]),) * 2)
sys.exit(main([sys.argv[1]]))
"""


def child_run(directory: Path, spare_bytes: int) -> subprocess.CompletedProcess[str]:
    """Run an engine that may take so much memory beyond its imports; 0: no limit."""
    command = [sys.executable, "-c", CHILD, str(directory), str(spare_bytes)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def wide_model(directory: Path) -> Path:
    """A model that does not fit where 300 MB are left, of few large tensors.

    The allocation that fails is then a large one, with room left for whatever is small.
    """
    from tests.tiny_model import tiny_model_write

    return tiny_model_write(directory, hidden_size=2560, layers=1)


@pytest.mark.slow
def test_a_process_without_memory_ends_with_what_to_lower(
    recipe: Recipe, run_directory: MakeRun, tmp_path: Path
) -> None:
    """A real limit on writable memory: malloc fails in torch, as on a machine that is full.

    Not on the address space, of which allocators reserve far more than they use.
    """
    model = str(wide_model(tmp_path / "wide"))
    directory = run_directory(
        recipe,
        model=model,
        anchor_model=None,
        method={"name": "adamw"},
    )
    ended = child_run(directory, 300 << 20)
    assert ended.returncode == OUT_OF_MEMORY, ended.stderr[-2000:]
    error = events_of(directory)[-1]
    assert error["where"] == "memory"
    assert "the session needs about" in error["message"]
    assert "optimizer state" in error["message"]
    assert "APOLLO-Mini or LoRA" in error["cure"]


@pytest.mark.slow
def test_a_tiny_sessions_peak_is_as_estimated(recipe: Recipe, run_directory: MakeRun) -> None:
    directory = run_directory(recipe, max_steps=2)
    ended = child_run(directory, 0)
    assert ended.returncode == DONE, ended.stderr[-2000:]
    events = events_of(directory)
    peak = [e["values"]["memory_bytes"] for e in events if e["event"] == "metric"][-1]
    estimate = events[-1]["summary"]["memory_estimate_bytes"]
    assert peak == pytest.approx(estimate, rel=TOLERANCE), json.dumps([peak, estimate])
