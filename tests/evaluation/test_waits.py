"""How often the device is waited for: once a batch, once a document, once a step of an answer."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from evaluation.config import BenchmarkConfig, GenerateConfig, MeasureConfig, PromptConfig
from evaluation.generation import answers_generate
from evaluation.likelihoods import CountingModel
from evaluation.perplexity import document_nll_nats
from tests.evaluation.waits import Waits

_CONFIG = MeasureConfig(model="m", benchmarks=(BenchmarkConfig(name="b", source="lm_eval"),))


def own_waits(loaded: Any, work: Callable[[], Any]) -> int:
    """Waits of our own loops: those that transformers has in a forward are counted alone and
    taken off."""
    forward, inside = loaded.model.forward, Waits()

    def counted(*args: Any, **kwargs: Any) -> Any:
        with inside:
            return forward(*args, **kwargs)

    loaded.model.forward = counted
    try:
        with Waits() as waits:
            work()
    finally:
        del loaded.model.forward
    return waits.counts.total() - inside.counts.total()


@pytest.mark.parametrize(
    "ask", [lambda x: x.item(), lambda x: x.tolist(), float, bool, lambda x: x.cpu()]
)
def test_the_counter_sees_every_way_to_ask(ask: Callable[[torch.Tensor], Any]) -> None:
    with Waits() as waits:
        ask(torch.ones(()))
    assert waits.counts.total() == 1


@pytest.mark.parametrize("size", [1, 4, 12])
def test_likelihoods_wait_once_a_batch(tiny_loaded: Any, size: int) -> None:
    requests = [(("q", f"{i}"), [i, *range(20)], [3, i]) for i in range(12)]
    model = CountingModel(tiny_loaded, _CONFIG, batch_size=size)
    waits = own_waits(tiny_loaded, lambda: model._loglikelihood_tokens(requests))
    assert waits == 12 // size


@pytest.mark.parametrize("window", [256, 32])
def test_a_document_waits_once_however_many_windows_it_has(tiny_loaded: Any, window: int) -> None:
    def measure() -> None:
        document_nll_nats(
            list(range(200)), tiny_loaded, window_tokens=window, stride_tokens=window // 2
        )

    assert own_waits(tiny_loaded, measure) == 1


def test_answers_wait_once_a_step_for_all_prompts(tiny_loaded: Any) -> None:
    prompts = tuple(
        PromptConfig(sha256=f"{i}", messages=({"role": "user", "content": "x = 1"},))
        for i in range(6)
    )
    endless = SimpleNamespace(eos_token_id=None)
    kept, tiny_loaded.model.generation_config = tiny_loaded.model.generation_config, endless
    config = GenerateConfig(model="m", prompts=prompts, max_new_tokens=5)

    def answer() -> None:
        answers_generate(
            config, tiny_loaded, 6, on_token=lambda share: None, on_warning=lambda text: None
        )

    try:
        assert own_waits(tiny_loaded, answer) <= 5
    finally:
        tiny_loaded.model.generation_config = kept
