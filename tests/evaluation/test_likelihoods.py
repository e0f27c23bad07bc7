"""Our model class for lm-eval against lm-eval's own: the same likelihoods from fewer logits."""

import random
from typing import Any

import pytest
import torch

from evaluation.config import BenchmarkConfig, MeasureConfig
from evaluation.likelihoods import CountingModel
from tests.tiny_model import TEXT_END_ID

_CONFIG = MeasureConfig(model="m", benchmarks=(BenchmarkConfig(name="b", source="lm_eval"),))
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
    model, kept = CountingModel(loaded, _CONFIG, batch_size=4), []
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


def by_hand(loaded: Any, request: Request, max_length: int) -> tuple[float, bool]:
    """One forward alone, in float64 from its logits on."""
    _, context, answer = request
    ids = [*context, *answer][-(max_length + 1) :]
    with torch.no_grad():
        logits = loaded.model(torch.tensor([ids[:-1]])).logits[0].double()
    own = logits[-len(answer) :]
    nats = own.log_softmax(-1)[range(len(answer)), answer].sum()
    return float(nats), own.argmax(-1).tolist() == answer


@pytest.mark.parametrize("max_length", [2048, 24])
def test_every_answer_has_the_likelihood_that_it_has_alone(
    tiny_loaded: Any, max_length: int
) -> None:
    requests = requests_drawn()
    result, _ = ours(tiny_loaded, requests, max_length)
    wanted = [by_hand(tiny_loaded, one, max_length) for one in requests]
    assert [greedy for _, greedy in result] == [greedy for _, greedy in wanted]
    assert [nats for nats, _ in result] == pytest.approx([nats for nats, _ in wanted], abs=1e-4)


@pytest.mark.parametrize("max_length", [2048, 24])
def test_fewer_logits_give_the_likelihoods_of_lm_eval(tiny_loaded: Any, max_length: int) -> None:
    # Of answers of different lengths that share a pass lm-eval takes the shorter ones' from the
    # wrong places: it looks them up from the first, where they stand at the end.
    requests = [one for one in requests_drawn() if one[0][0] != "split"]
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
