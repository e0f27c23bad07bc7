"""The cosine of frozen and full gradient, against the gradients themselves."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.training.frozen.test_batching import config
from tests.training.frozen.test_streaming import CPU, example, gradients
from tests.training.shapes import shape
from training.config import ContextConfig
from training.frozen.cosine import GradientCosine
from training.frozen.streaming import frozen_losses, masked_losses
from training.samples import Sample

ITEM = example((20, 30), (40, 50), length=51)


def sample(encoded: Any = ITEM) -> Sample:
    return Sample(encoded=encoded, batch_key="b", kind="general")


def cosine_of(model: Any, window: int = 0) -> GradientCosine:
    settings = config(examples_per_step=2, context=ContextConfig(grad_window=window))
    return GradientCosine(model, settings, [sample()] * 6, CPU)


@pytest.mark.parametrize("name", ["llama", "qwen3_5"])
def test_it_is_the_cosine_of_the_two_gradients(name: str) -> None:
    model = shape(name).train()
    value = cosine_of(model).measure(sample())
    assert all(p.grad is None and not p._post_accumulate_grad_hooks for p in model.parameters())
    assert model.training
    model.eval()
    frozen, full = (
        torch.cat(
            [one.flatten() for one in gradients(model, losses(model, [ITEM], CPU))[1].values()]
        )
        for losses in (frozen_losses, masked_losses)
    )
    expected = torch.nn.functional.cosine_similarity(frozen.double(), full.double(), dim=0)
    assert value == pytest.approx(expected.item(), rel=1e-4)
    assert value is not None
    assert 0.1 < value < 0.99


def test_a_window_over_everything_gives_one() -> None:
    assert cosine_of(shape("llama"), window=1000).measure(sample()) == pytest.approx(1.0, rel=1e-5)


def test_adapters_alone_are_compared() -> None:
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    value = cosine_of(get_peft_model(shape("llama"), settings)).measure(sample())
    assert value is not None
    assert 0.1 < value < 0.99


def test_no_gradient_has_no_direction() -> None:
    model = shape("llama")
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.model.norm.weight.zero_()
    assert cosine_of(model).measure(sample()) is None


def test_the_example_is_drawn_from_its_step_and_has_decisions() -> None:
    nothing = sample(replace(ITEM, left_out=frozenset([*range(20, 30), *range(40, 50)])))
    others = [sample(example((10 + n, 20 + n))) for n in range(3)]
    samples = [others[0], nothing, nothing, nothing, others[1], others[2]]
    settings = config(examples_per_step=2)
    cosine = GradientCosine(shape("llama"), settings, samples, CPU)
    assert cosine.sample(1) is others[0]
    assert cosine.sample(2) is None
    assert cosine.sample(3) in others[1:]


def test_what_it_will_take_is_reckoned_from_the_step() -> None:
    cosine = cosine_of(shape("llama"))
    cost = 19 + 3 * 10 + 10 + 3 * 10  # of one example, in forwards of a token
    expected, session = cosine.seconds(1, sample(), step_seconds=2.0)
    assert session == pytest.approx(3 * 2.0)
    assert expected == pytest.approx((cost + 4 * 51) * 2.0 / (2 * cost))
