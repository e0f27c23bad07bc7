"""What one of several processes holds and gathers, by hand."""

from dataclasses import replace
from typing import Any

import pytest

from tests.training.ahead.test_memory import DECODER, NUMBERS, SHAPES, WORKLOAD, config_of
from training.ahead.held import Held
from training.ahead.memory import (
    ACTIVATIONS,
    GATHERED,
    PENALTIES,
    WEIGHTS,
    WORK,
    MemoryEstimate,
    Workload,
    memory_estimate,
)
from training.methods.method import GRADIENTS, OPTIMIZER

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
