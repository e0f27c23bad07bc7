"""A measurement in bfloat16 against float32, on the processor and on a GPU alike."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Record = Callable[[str, object], None]
ROUNDING = 2.0**-9
"""The largest relative error of one rounding to bfloat16."""


def nats(directory: Path) -> float:
    """The mean −ln p over every token of every document."""
    path = directory / "output/documents.jsonl"
    documents = [json.loads(line) for line in path.read_text().splitlines()]
    tokens = sum(one["tokens"] for one in documents)
    total: float = sum(one["nll_nats"] for one in documents)
    return total / tokens


def test_perplexity_in_bfloat16_is_that_of_float32_but_for_rounding(
    measure_config: dict[str, Any], attempt: Any, either_device: str, record_property: Record
) -> None:
    measured = []
    for number, dtype in enumerate(("float32", "bfloat16")):
        config = measure_config | {"benchmarks": [], "device": either_device, "dtype": dtype}
        code, directory = attempt(config, "--attempt", str(number))
        assert code == 0
        measured.append(nats(directory))
    whole, rounded = measured
    assert math.isfinite(rounded)
    record_property("nats a token in bfloat16 against float32", rounded - whole)
    assert rounded == pytest.approx(whole, rel=4 * ROUNDING)
    assert rounded != whole


def test_what_is_left_open_is_found_for_the_device(
    measure_config: dict[str, Any], attempt: Any, either_device: str, record_property: Record
) -> None:
    code, directory = attempt(measure_config | {"device": either_device})
    assert code == 0
    settings = json.loads((directory / "output/settings.json").read_text())
    record_property("sequences a pass", settings["batch_size_why"])
    found = settings["dtype"], settings["batch_size"], settings["weights_on"]
    on_gpu = ("bfloat16", 64, "one GPU")
    assert found == (
        on_gpu if either_device == "cuda" else ("float32", 8, "the processor's memory")
    )
