"""Our model class for lm-eval against lm-eval's own: the same likelihoods from fewer logits."""

import random
from typing import Any

import pytest
import torch

from evaluation.benchmarks import CountingModel, first_scored
from evaluation.config import BenchmarkConfig, MeasureConfig
from tests.tiny_model import TEXT_END_ID

_CONFIG = MeasureConfig(
    model="m", benchmarks=(BenchmarkConfig(name="b", source="lm_eval"),), batch_size=4
)
Request = tuple[tuple[str, str], list[int], list[int]]


def theirs(loaded: Any, requests: list[Request], max_length: int) -> list[tuple[float, bool]]:
    from lm_eval.models.huggingface import HFLM

    model = HFLM(
        pretrained=loaded.model,
        tokenizer=loaded.tokenizer,
        batch_size=4,
        softmax_dtype="float32",
        max_length=max_length,
    )
    return model._loglikelihood_tokens(requests, disable_tqdm=True)


def ours(
    loaded: Any, requests: list[Request], max_length: int
) -> tuple[list[tuple[float, bool]], list[int]]:
    """The answers, and how many logits of a sequence each forward pass gave."""
    model, kept = CountingModel(loaded, _CONFIG), []
    model._max_length = max_length

    def note(module: Any, args: Any, output: Any) -> None:
        kept.append(output.logits.shape[1])

    handle = loaded.model.register_forward_hook(note)
    try:
        return model._loglikelihood_tokens(requests, disable_tqdm=True), kept
    finally:
        handle.remove()


def requests_drawn() -> list[Request]:
    """Answers of many lengths; some share their question, some tokens are 0 as padding is."""
    draw = random.Random(0)
    result: list[Request] = []
    for number in range(12):
        context = [draw.randrange(256) for _ in range(draw.randint(1, 30))]
        for length in (1, 1, draw.randint(2, 9)):
            answer = [draw.randrange(256) for _ in range(length)]
            result.append(((f"{number}", f"{len(result)}"), context, answer))
    result.append((("zeros", "a"), [7, 0, 0], [0, 0, 5]))
    result.append((("zeros", "b"), [7], [0, 0, 0, 9]))
    result.append((("zeros", "c"), [0], [0, 0]))
    # The same tokens, of which another part is the answer.
    result.append((("split", "a"), [1, 2, 3, 4, 5], [6]))
    result.append((("split", "b"), [1, 2], [3, 4, 5, 6]))
    result.append((("long", "a"), [TEXT_END_ID] * 60, [3, 4]))
    return result


@pytest.mark.parametrize("max_length", [2048, 24])
def test_fewer_logits_give_the_likelihoods_of_lm_eval(tiny_loaded: Any, max_length: int) -> None:
    requests = requests_drawn()
    result, _ = ours(tiny_loaded, requests, max_length)
    wanted = theirs(tiny_loaded, requests, max_length)
    assert [greedy for _, greedy in result] == [greedy for _, greedy in wanted]
    assert [nats for nats, _ in result] == pytest.approx([nats for nats, _ in wanted], abs=1e-4)


def test_questions_cost_no_logits(tiny_loaded: Any) -> None:
    requests: list[Request] = [(("q", f"{i}"), [i, *range(50)], [3, i]) for i in range(8)]
    result, kept = ours(tiny_loaded, requests, 2048)
    assert kept == [2, 2]
    with torch.no_grad():
        logits = tiny_loaded.model(torch.tensor([[0, *range(50), 3]])).logits[0, -2:]
    expected = logits.double().log_softmax(-1)
    assert result[0][0] == pytest.approx(float(expected[0, 3] + expected[1, 0]), abs=1e-4)


def test_the_earliest_answer_counts_where_inputs_are_the_same() -> None:
    requests = [
        (("", ""), [1, 2, 3], [4]),
        (("", ""), [1], [2, 3, 9]),
        (("", ""), [1, 2], [3, 0, 0]),
        (("", ""), [5, 6, 7, 8], [9]),
    ]
    assert first_scored(requests, 100) == {(1, 2, 3): 0, (5, 6, 7, 8): 3}
    assert first_scored(requests[-1:], 2) == {(7, 8): 1}
