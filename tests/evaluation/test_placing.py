"""Where weights go, by sizes alone."""

from pathlib import Path
from typing import Any

import pytest

from engine.attempt import EngineError
from evaluation.placing import ROOM_BYTES, placement, weights_bytes

GB = 10**9
WEIGHTS_27B = 54 * GB
"""27 billion parameters in bfloat16."""


def test_what_fits_the_first_gpu_goes_there_whole() -> None:
    placed = placement(WEIGHTS_27B, [79 * GB, 79 * GB])
    assert placed.most_bytes == {0: 77 * GB} and not placed.is_spread
    assert placed.words == "one GPU"


def test_what_does_not_fit_one_is_spread_over_all() -> None:
    placed = placement(WEIGHTS_27B, [39 * GB, 39 * GB])
    assert placed.most_bytes == {0: 37 * GB, 1: 37 * GB} and placed.is_spread
    assert placed.words == "spread over 2 GPUs, layer by layer"


def test_a_gpu_that_is_full_gets_nothing() -> None:
    placed = placement(WEIGHTS_27B, [1 * GB, 39 * GB, 39 * GB])
    assert placed.most_bytes == {1: 37 * GB, 2: 37 * GB}


@pytest.mark.parametrize("below", [True, False])
def test_the_limit_is_the_weights_a_tenth_more_and_two_gigabytes(below: bool) -> None:
    needed = 10 * GB * 11 // 10 + ROOM_BYTES
    free = [needed - below]
    if below:
        with pytest.raises(EngineError):
            placement(10 * GB, free)
    else:
        assert not placement(10 * GB, free).is_spread


@pytest.mark.parametrize(
    ("free", "words"),
    [
        ([24 * GB], "the GPU has 24.0 GB free"),
        ([24 * GB, 24 * GB], "2 GPUs have 48.0 GB free"),
        ([], "the GPU has 0.0 GB free"),
    ],
)
def test_what_fits_nowhere_is_refused_with_both_figures(free: list[int], words: str) -> None:
    with pytest.raises(EngineError) as refusal:
        placement(WEIGHTS_27B, free)
    assert refusal.value.exit_code == 4
    assert "take 54.0 GB" in refusal.value.message and words in refusal.value.message
    assert refusal.value.cure


def test_weights_are_counted_in_the_format_that_they_are_loaded_in(
    tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    numbers = sum(one.numel() for one in tiny_loaded.model.parameters())
    assert weights_bytes(str(tiny_model_directory), "float32") == 4 * numbers
    assert weights_bytes(str(tiny_model_directory), "bfloat16") == 2 * numbers
