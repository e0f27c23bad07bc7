"""The memory of a session: by hand, against a real child's peak, and where there is too little."""

import json
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from engine.process import DONE, OUT_OF_MEMORY
from tests.training.toys import events_of
from training.__main__ import main
from training.ahead.decoder import DecoderShape
from training.ahead.held import Held
from training.ahead.memory import (
    ACTIVATIONS,
    CACHE,
    GATHERED,
    GPU_FACTOR,
    LOGITS,
    PENALTIES,
    TOLERANCE,
    WEIGHTS,
    WORK,
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


SHARED: dict[str, Any] = {"ranks": {"processes": 4, "sharding": "fsdp2"}}
LAYER = {"embed.weight": (1000, 8), "layers.0.up.weight": (32, 8), "layers.1.up.weight": (32, 8)}


def shared_estimate(shapes: Any = SHAPES, **changes: Any) -> MemoryEstimate:
    """The estimate of one card of four, each of which has a part; next to nothing is read."""
    return memory_estimate(
        config_of(**{**SHARED, "dtype": "bfloat16", **changes}),
        shapes=shapes,
        decoder=replace(DECODER, vocabulary=1),
        workload=Workload(longest_tokens=2, longest_decision_tokens=1),
        on_gpu=True,
        processes=4,
    )


def test_a_part_of_what_is_shared_by_hand() -> None:
    result = shared_estimate(method={"name": "adamw"}, defences={"l2_strength": 1.0})
    assert result.part_bytes(WEIGHTS) == 2 * NUMBERS / 4
    assert result.part_bytes(OPTIMIZER) == 4 * NUMBERS / 4
    assert result.part_bytes(GRADIENTS) == 2 * NUMBERS / 4
    assert result.part_bytes(PENALTIES) == 2 * NUMBERS / 4


@pytest.mark.parametrize(
    ("shape", "whole_moments"),
    [((32, 8), 0), ((8, 32), 0), ((8, 30), 4 * 30)],  # 30 columns cannot be shared by four evenly
)
def test_projections_are_whole_and_moments_where_channels_are(
    shape: tuple[int, int], whole_moments: int
) -> None:
    shapes = {"layers.0.up.weight": shape}
    method = {"name": "apollo", "rank": 4}
    moments = 2 * 4 * 4 * max(shape)  # two of rank 4 in float32
    projection = 2 * 4 * 8  # in the weights' type
    kept = shared_estimate(shapes, method=method).part_bytes(OPTIMIZER)
    assert kept == projection + (moments if whole_moments else moments / 4)


def test_what_is_gathered_by_hand() -> None:
    """Three times a layer; the embedding, and in the backward its gradient; and a layer's gradient
    beside two sums of it in float32. At the end the embedding's sum and the last layer's."""

    def held(method: str, **changes: Any) -> Held:
        config = config_of(**{**SHARED, "dtype": "bfloat16", "method": {"name": method}} | changes)
        return Held(config=config, shapes=LAYER, processes=4)

    full, lora = held("adamw"), held("lora")
    assert full.gathered(backward=False) == 2 * 8000 + 3 * 2 * 256
    assert full.gathered(backward=True) == (2 + 2) * 8000 + (3 * 2 + 2 + 2 * 4) * 256
    assert full.closing() == (2 + 2 + 4) * 8000 + 4 * 256
    assert lora.gathered(backward=True) == lora.gathered(backward=False)
    assert lora.closing() == 2 * 8000
    result = shared_estimate(LAYER, method={"name": "adamw"})
    assert result.part_bytes(GATHERED) == full.closing()
    alone = held("adamw", ranks={"processes": 4})
    assert alone.gathered(backward=True) == alone.closing() == 0


def test_whole_copies_send_their_gradients_in_one_message() -> None:
    shapes = {"layers.0.up.weight": (8192, 8192)}
    ranks = {"processes": 2}

    def step(**changes: Any) -> int:
        quiet = {"diagnostics": {"sharpness": False}, "context_frozen": False}
        config = config_of(method={"name": "adamw"}, **quiet, **changes)
        count = changes.get("ranks", {}).get("processes", 1)
        return memory_estimate(
            config,
            shapes=shapes,
            decoder=DECODER,
            workload=WORKLOAD,
            on_gpu=True,
            processes=count,
        ).part_bytes(WORK)

    assert step(ranks=ranks) == 4 * 8192**2
    assert step(ranks=ranks, dtype="bfloat16") == 2 * 4 * 8192**2


def test_long_contexts_count_while_they_are_read() -> None:
    """A layer's own products over all of the context are then more than a decision's graph."""
    long = Workload(longest_tokens=100_000, longest_decision_tokens=10)
    config = config_of(dtype="bfloat16", method={"name": "lora", "rank": 2})
    result = memory_estimate(config, shapes=SHAPES, decoder=DECODER, workload=long, on_gpu=True)
    assert result.part_bytes(ACTIVATIONS) >= 99_990 * 3 * 32 * 2
    assert result.part_bytes(CACHE) >= 100_000 * 2 * 4 * 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activations_of_a_hybrid_are_as_torch_counts_them(dtype: str) -> None:
    """What Qwen3.5 keeps for its backward, and what is alive while it reads: on wider shapes than
    those that the estimate's coefficients were counted on, in other proportions."""
    config, model = hybrid(getattr(torch, dtype))
    decoder = DecoderShape.from_config(config.to_dict())
    assert decoder.recurrent is not None
    assert (decoder.layers, decoder.attending) == (4, 1)
    tokens = 256
    ids = torch.randint(0, 64, (1, tokens))
    whole = Workload(longest_tokens=tokens, longest_decision_tokens=tokens)
    estimated = memory_estimate(
        config_of(dtype=dtype, context_frozen=False, max_example_tokens=tokens),
        shapes=SHAPES,
        decoder=decoder,
        workload=whole,
        on_gpu=True,
    ).part_bytes(ACTIVATIONS)
    counted = GPU_FACTOR * saved_bytes(model.model, ids)
    assert estimated == pytest.approx(counted, rel=0.1)
    read = memory_estimate(
        config_of(dtype=dtype, method={"name": "lora", "rank": 1}),
        shapes=SHAPES,
        decoder=decoder,
        workload=Workload(longest_tokens=1000 * tokens, longest_decision_tokens=1),
        on_gpu=True,
    ).part_bytes(ACTIVATIONS)
    with torch.no_grad(), Alive(model) as alive:
        model.model(input_ids=ids, use_cache=False)
    assert read / 1000 == pytest.approx(GPU_FACTOR * alive.peak_bytes, rel=0.1)


def hybrid(dtype: torch.dtype) -> Any:
    """A small Qwen3.5: its config, and the model with random weights."""
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    config = Qwen3_5TextConfig(
        vocab_size=64, hidden_size=160, intermediate_size=320, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=1, head_dim=32, linear_num_key_heads=2,
        linear_num_value_heads=6, linear_key_head_dim=32, linear_value_head_dim=32,
    )  # fmt: skip
    model: Any = Qwen3_5ForCausalLM(config)
    return config, model.to(dtype)


def saved_bytes(model: torch.nn.Module, ids: torch.Tensor) -> int:
    """Bytes of the storages that a forward keeps for its backward, but for the weights."""
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(input_ids=ids, use_cache=False)
    assert output.last_hidden_state.requires_grad
    return sum(one.nbytes() for one in kept.values())


class Alive(TorchDispatchMode):
    """The most bytes of storages that were alive together, but for the weights."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
        self.now_bytes = self.peak_bytes = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, torch.Tensor):
                self._count(one.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        place = storage.data_ptr()
        if place in self._sizes or place in self._weights:
            return
        self._sizes[place] = storage.nbytes()
        self.now_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self.now_bytes)
        weakref.finalize(storage, self._forget, place)

    def _forget(self, place: int) -> None:
        self.now_bytes -= self._sizes.pop(place, 0)


def test_more_cards_than_examples_have_one_each() -> None:
    def activations(processes: int) -> int:
        config = config_of(
            examples_per_step=4, ranks={"processes": processes}, context_frozen=False
        )
        return memory_estimate(
            config,
            shapes=SHAPES,
            decoder=DECODER,
            workload=WORKLOAD,
            on_gpu=True,
            processes=processes,
        ).part_bytes(ACTIVATIONS)

    assert activations(1) == pytest.approx(4 * activations(8), rel=1e-3)
    assert activations(2) == pytest.approx(2 * activations(8), rel=1e-3)


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
