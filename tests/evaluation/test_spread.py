"""A model whose layers lie in several places, as accelerate spreads them.

No machine with several GPUs is at hand: here a part lies on the processor and a part on the disk,
which goes through the same hooks. What only GPUs have, the copies between them, is not tested.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.attempt import EngineError
from evaluation import loading
from evaluation.config import BenchmarkConfig, MeasureConfig
from evaluation.likelihoods import CountingModel
from evaluation.loading import model_load
from evaluation.perplexity import document_nll_nats
from evaluation.placing import Placement

PLACES = {
    "model.embed_tokens": "cpu",
    "model.layers.0": "cpu",
    "model.layers.1": "disk",
    "model.norm": "cpu",
    "model.rotary_emb": "cpu",
    "lm_head": "cpu",
}
SPREAD = Placement(most_bytes={0: 10**9, 1: 10**9})


@pytest.fixture
def config(tiny_model_directory: Path) -> MeasureConfig:
    benchmark = BenchmarkConfig(name="b", source="lm_eval")
    return MeasureConfig(model=str(tiny_model_directory), benchmarks=(benchmark,), device="cpu")


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def whereabouts(placed: Placement | None) -> dict[str, Any]:
        return {"device_map": PLACES, "offload_folder": str(tmp_path / "offload")}

    monkeypatch.setattr(loading, "_placement", lambda *_: SPREAD)
    monkeypatch.setattr(loading, "_whereabouts", whereabouts)


@pytest.mark.usefixtures("spread")
def test_a_spread_model_has_the_likelihoods_of_a_whole_one(
    config: MeasureConfig, tiny_loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_whole_check", lambda model: None)
    loaded = model_load(config)
    assert loaded.placed == "spread over 2 GPUs, layer by layer"
    assert loaded.device == torch.device("cpu")
    assert {"cpu", "disk"} == set(loaded.model.hf_device_map.values())
    tokens = list(range(200))
    requests = [(("q", f"{i}"), [i, *range(20)], [3, i]) for i in range(6)]
    both = []
    for one in (loaded, tiny_loaded):
        model = CountingModel(one, config, batch_size=4)
        nats = document_nll_nats(tokens, one, window_tokens=64, stride_tokens=32)
        both.append([nats, *(nats for nats, _ in model._loglikelihood_tokens(requests))])
    assert both[0] == pytest.approx(both[1], rel=1e-6)


@pytest.mark.usefixtures("spread")
def test_a_model_of_which_a_layer_was_left_on_the_disk_is_refused(config: MeasureConfig) -> None:
    with pytest.raises(EngineError) as refusal:
        model_load(config)
    assert refusal.value.exit_code == 4 and "found no room on the GPUs" in refusal.value.message


def test_where_nothing_is_said_a_processor_measures_in_float32(config: MeasureConfig) -> None:
    loaded = model_load(config)
    assert loaded.dtype == "float32" and loaded.placed == "the processor's memory"
    assert loaded.model.dtype == torch.float32
    rounded = model_load(replace(config, dtype="bfloat16"))
    assert rounded.dtype == "bfloat16" and rounded.model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("device", "computes", "dtype"),
    [("cuda", True, "bfloat16"), ("cuda", False, "float32"), ("cpu", True, "float32")],
)
def test_auto_is_bfloat16_on_a_gpu_that_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, device: str, computes: bool, dtype: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: computes)
    assert loading._dtype("auto", torch.device(device)) == dtype
    assert loading._dtype("float32", torch.device(device)) == "float32"


def test_what_transformers_is_told() -> None:
    assert loading._whereabouts(None) == {}
    assert loading._whereabouts(Placement(most_bytes={0: 5})) == {"device_map": {"": 0}}
    spread = {"device_map": "balanced", "max_memory": {0: 10**9, 1: 10**9}}
    assert loading._whereabouts(SPREAD) == spread
