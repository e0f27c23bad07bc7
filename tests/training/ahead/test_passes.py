"""What a run is forecast to compute, against the tokens that the engine really sends through."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from corpus.conversations import ChatEncoder
from engine.process import DONE
from tests.training.toys import batch_ingest, conversation
from training import run as engine
from training.__main__ import main
from training.ahead.passes import (
    Material,
    MeanExample,
    Passes,
    ProbeSize,
    cosine_units,
    measuring_units,
    passes_count,
    rank_units,
    watching_units,
)
from training.config import RunConfig
from training.frozen.cosine import GradientCosine
from training.models import model_load
from training.samples import Curriculum, Pool, curriculum_build

Recipe = dict[str, Any]
MakeRun = Callable[..., Path]
NOTHING: dict[str, dict[str, Any]] = {
    "watch": {"watch_every_steps": 0},
    "diagnostics": {
        "gradient_sparsity": False,
        "gradient_cosine": False,
        "change_rank": False,
        "sharpness": False,
        "diagnostics_share": 1e-6,  # what is limited by time comes as seldom as it can
    },
}
SHARPNESS = {"diagnostics": {**NOTHING["diagnostics"], "sharpness": True}}
WATCH = {"watch_every_steps": 3, "watch_probe_tokens": 1000, "watch_kl_tokens": 40}


class Counter:
    """Counts a model's tokens in forwards of one: 1 for each forward, 2 for each backward."""

    def __init__(self) -> None:
        self.units = 0

    def attach(self, model: Any) -> Any:
        layer = model.model.layers[0].mlp  # a layer's own hooks do not see it computed again
        layer.register_forward_pre_hook(self._forward)
        layer.register_forward_hook(self._backward)
        return model

    def _forward(self, _: object, inputs: tuple[torch.Tensor, ...]) -> None:
        self.units += inputs[0].shape[0] * inputs[0].shape[1]

    def _backward(self, _: object, __: object, output: torch.Tensor) -> None:
        if output.requires_grad:
            output.register_hook(self._add)

    def _add(self, gradient: torch.Tensor) -> None:
        self.units += 2 * gradient.shape[0] * gradient.shape[1]


@pytest.fixture
def units_of(
    recipe: Recipe, run_directory: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """`units_of(epochs=2)`: what a run of the recipe with these changes computes."""

    def run(**changes: Any) -> int:
        counter = Counter()
        monkeypatch.setattr(engine, "model_load", lambda config: counter.attach(model_load(config)))
        assert main([str(run_directory({**recipe, **NOTHING}, **changes))]) == DONE
        return counter.units

    return run


def curriculum_of(config: RunConfig) -> Curriculum:
    return curriculum_build(config, ChatEncoder.from_directory(config.model), 4096)


def mean_of(samples: Any) -> MeanExample:
    encoded = [sample.encoded for sample in samples]
    return MeanExample(
        context_tokens=sum(one.context_token_count for one in encoded) / len(encoded),
        decision_tokens=sum(one.decision_token_count for one in encoded) / len(encoded),
        decisions=sum(len(one.decisions) for one in encoded) / len(encoded),
    )


def probe_size(pool: Pool, limit: int) -> ProbeSize:
    """Of the whole held-out side of a batch, which the limit lets in."""
    tokens = sum(len(sample.encoded.token_ids) for sample in pool.held_out)
    assert 0 < tokens <= limit
    return ProbeSize(tokens=tokens, is_general=pool.kind == "general")


def forecast_of(recipe: Recipe, **changes: Any) -> Passes:
    config = RunConfig.from_json({**recipe, **NOTHING, **changes})
    result = curriculum_of(config)
    mean = mean_of(result.samples)
    limit = config.watch.watch_probe_tokens
    material = Material(
        step_count=result.step_count,
        examples=len(result.samples),
        distinct=len({id(sample) for sample in result.samples}),
        mean=mean,
        general=mean,
        general_count=len(result.pools[0].train),
        probes=[probe_size(pool, limit) for pool in result.pools if pool.held_out],
    )
    return passes_count(config, material, tensor_shapes={})


@pytest.mark.parametrize(
    "changes", [{}, {"context_frozen": False}, {"context": {"grad_window": 8}}]
)
def test_training_itself(recipe: Recipe, units_of: Callable[..., int], changes: Recipe) -> None:
    """An epoch more, so that the check at load does not count."""
    measured = units_of(epochs=2, **changes) - units_of(**changes)
    forecast = forecast_of(recipe, **changes)
    assert forecast.beside == 0
    assert measured == pytest.approx(forecast.training, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"defences": {"ewc_strength": 1.0, "ewc_examples": 10}},
        {"defences": {"mask_below_probability": 1e-9}, "epochs": 2},
        SHARPNESS,
    ],
)
def test_what_comes_beside_it(
    recipe: Recipe, units_of: Callable[..., int], changes: Recipe
) -> None:
    plain = {name: value for name, value in changes.items() if name == "epochs"}
    measured = units_of(**changes) - units_of(**plain)
    assert measured == pytest.approx(forecast_of(recipe, **changes).beside, rel=0.1)


@pytest.mark.parametrize("brake", [None, 1000.0])
def test_watching(
    recipe: Recipe,
    units_of: Callable[..., int],
    tmp_path: Path,
    tiny_model_directory: Path,
    brake: float | None,
) -> None:
    """With a brake at every third of ten steps, and at the end; without one there is no time."""
    records = [conversation(number, any_side=True) for number in range(40)]
    path = batch_ingest(tmp_path / "watched", tiny_model_directory, records)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert any(line["held_out"] for line in lines)
    changes: Recipe = {
        "batches": [{**recipe["batches"][0], "path": str(path)}],
        "max_steps": 10,
        "watch": {**WATCH, "brake_rise": brake},
    }
    measured = units_of(**changes) - units_of(**{**changes, "watch": {"watch_every_steps": 0}})
    assert measured == pytest.approx(forecast_of(recipe, **changes).watching, rel=0.15)


def test_comparing_gradients(recipe: Recipe) -> None:
    config = RunConfig.from_json(recipe)
    samples = curriculum_of(config).samples
    counter = Counter()
    model = counter.attach(model_load(config))
    cosine = GradientCosine(model, config, samples, torch.device("cpu"))
    for sample in samples:
        cosine.measure(sample)
    assert counter.units / len(samples) == pytest.approx(
        cosine_units(config, mean_of(samples)), rel=0.1
    )


def test_nothing_takes_more_than_its_share() -> None:
    """By hand: 1,000 steps of one example with 90 + 10 tokens, 120 units each."""
    mean = MeanExample(context_tokens=90, decision_tokens=10, decisions=1)
    probes = [ProbeSize(tokens=1000, is_general=True)]
    material = Material(step_count=1000, examples=1000, distinct=1000, mean=mean, probes=probes)
    training = 1000 * 120.0
    every_step = RunConfig.from_json(
        {**_EXAMPLE, "watch": {"watch_every_steps": 1, "watch_kl_tokens": 10}}
    )
    looks = 2 * (1000 + 100) + 2 * 0.05 * training  # texts and divergence: two ends and a share
    assert watching_units(every_step, material, training) == pytest.approx(looks)
    cosines = 11 * (120 + 400)  # of 6,000 units, the share; each takes 520
    sharpness = 3 * 600 + 6000
    shapes = {"model.layers.0.mlp.up_proj.weight": (1000, 100)}
    ranks = rank_units(shapes)
    assert ranks == pytest.approx((1.25e7 + 5e6) / 2e5)
    result = measuring_units(every_step, material, training, shapes)
    assert result == pytest.approx(cosines + sharpness + ranks)


_EXAMPLE: Recipe = {
    "model": "m",
    "batches": [{"key": "b", "name": "B", "kind": "general", "path": "b.jsonl"}],
}
