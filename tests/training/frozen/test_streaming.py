"""Context-frozen gradients against plain references, on a tiny model."""

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, DynamicCache

from corpus.encoded import EncodedExample, Segment
from training.frozen import streaming
from training.frozen.streaming import frozen_losses, masked_losses

CPU = torch.device("cpu")


def example(*cuts: tuple[int, int], length: int = 60) -> EncodedExample:
    """Random bytes with decisions at the given cuts."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(0, 256, (length,), generator=generator).tolist()
    segments, position = [], 0
    for start, end in cuts:
        segments.append(Segment(start=position, end=start, is_decision=False))
        segments.append(Segment(start=start, end=end, is_decision=True))
        position = end
    if position < length:
        segments.append(Segment(start=position, end=length, is_decision=False))
    return EncodedExample(token_ids=ids, segments=segments)


@pytest.fixture
def model(tiny_model_directory: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model_directory)


def gradients(model: Any, losses: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """The sum of the losses and every parameter's gradient."""
    model.zero_grad(set_to_none=True)
    total = 0.0
    for loss in losses:
        loss.nll_sum.backward()
        total += loss.nll_sum.item()
    gradients_after = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return total, gradients_after


def detached_reference(model: Any, item: EncodedExample) -> tuple[float, dict[str, torch.Tensor]]:
    """Each decision apart: its whole past once more without gradient, then the decision with it."""
    model.zero_grad(set_to_none=True)
    ids, total = torch.tensor([item.token_ids]), 0.0
    for segment in item.segments:
        if not segment.is_decision:
            continue
        cache = DynamicCache(config=model.config)
        split = segment.start - 1
        if split:
            with torch.no_grad():
                model(input_ids=ids[:, :split], past_key_values=cache, use_cache=True)
        output = model(input_ids=ids[:, split : segment.end - 1], past_key_values=cache)
        targets = ids[0, segment.start : segment.end]
        loss = cross_entropy(output.logits[0], targets, reduction="sum")
        loss.backward()
        total += loss.item()
    return total, {n: p.grad.clone() for n, p in model.named_parameters()}


def assert_same(ours: dict[str, torch.Tensor], reference: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == reference.keys()
    for name, gradient in reference.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    "item",
    [
        example((20, 30)),
        example((20, 30), (40, 60)),
        example((1, 2), (2, 5), (59, 60)),
        example((10, 11), (12, 13), (14, 50)),
    ],
)
def test_streaming_gives_the_gradients_of_a_detached_reference(
    model: Any, item: EncodedExample
) -> None:
    ours = gradients(model, frozen_losses(model, [item], CPU))
    reference = detached_reference(model, item)
    assert ours[0] == pytest.approx(reference[0], rel=1e-6)
    assert_same(ours[1], reference[1])


def test_losses_are_those_of_label_masking(model: Any) -> None:
    item = example((20, 30), (40, 55))
    frozen, _ = gradients(model, frozen_losses(model, [item], CPU))
    masked, _ = gradients(model, masked_losses(model, [item], CPU))
    assert frozen == pytest.approx(masked, rel=1e-6)


def test_label_masking_equals_ignored_labels(model: Any) -> None:
    item = example((20, 30), (40, 55))
    _, ours = gradients(model, masked_losses(model, [item], CPU))
    model.zero_grad(set_to_none=True)
    ids = torch.tensor([item.token_ids])
    labels = torch.full_like(ids, -100)
    for segment in item.segments:
        if segment.is_decision:
            labels[0, segment.start : segment.end] = ids[0, segment.start : segment.end]
    (model(input_ids=ids, labels=labels).loss * 25).backward()
    assert_same(ours, {n: p.grad for n, p in model.named_parameters()})


def test_the_first_decision_token_gets_gradient(model: Any) -> None:
    item = example((20, 21))
    (loss,) = list(frozen_losses(model, [item], CPU))
    logits = model(input_ids=torch.tensor([item.token_ids[:20]])).logits[0, -1]
    expected = cross_entropy(logits, torch.tensor(item.token_ids[20]))
    assert loss.token_counts == (1,)
    assert loss.nll_sum.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.nll_sum.backward()
    assert model.lm_head.weight.grad[item.token_ids[20]].abs().sum() > 0


@pytest.mark.parametrize("losses", [frozen_losses, masked_losses])
def test_tokens_that_are_left_out_are_read_and_not_learnt(model: Any, losses: Any) -> None:
    item = replace(example((20, 30), (40, 45)), left_out=frozenset([20, 24, 25, *range(40, 45)]))
    assert item.decision_token_count == 7
    assert item.context_token_count == 53
    (loss,) = list(losses(model, [item], CPU))  # nothing is left of the second decision
    assert loss.token_counts == (7,)
    logits = model(input_ids=torch.tensor([item.token_ids])).logits[0]
    kept = torch.tensor([21, 22, 23, 26, 27, 28, 29])
    expected = cross_entropy(logits[kept - 1], torch.tensor(item.token_ids)[kept], reduction="sum")
    assert loss.nll_sum.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("losses", [frozen_losses, masked_losses])
def test_losses_of_several_conversations_are_told_apart(model: Any, losses: Any) -> None:
    items = [example((20, 30), length=40), example((5, 6), (9, 19), length=30)]
    alone = [sum(loss.nll_sum.item() for loss in losses(model, [item], CPU)) for item in items]
    together = list(losses(model, items, CPU))
    counts = [
        sum(gradients_after)
        for gradients_after in zip(*(loss.token_counts for loss in together), strict=True)
    ]
    assert counts == [10, 11]
    parts = torch.stack([loss.nll_sums for loss in together])  # (backwards, conversations)
    assert parts.sum(0).tolist() == pytest.approx(alone, rel=1e-5)
    whole = torch.stack([loss.nll_sum.detach() for loss in together])
    assert whole.tolist() == pytest.approx(parts.sum(1).tolist(), rel=1e-6)


def test_tokens_after_the_last_decision_add_nothing(model: Any) -> None:
    long = example((20, 30), length=60)
    short = EncodedExample(token_ids=long.token_ids[:30], segments=long.segments[:2])
    for losses in (frozen_losses, masked_losses):
        ours = gradients(model, losses(model, [long], CPU))
        reference = gradients(model, losses(model, [short], CPU))
        assert ours[0] == pytest.approx(reference[0], rel=1e-6)
        assert_same(ours[1], reference[1])


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_embedding_adds_its_rows_to_the_heads_gradient(tmp_path: Path, tied: bool) -> None:
    """The same sum as with a dense gradient of its own, and never a sparse one."""
    from tests.tiny_model import tiny_model_write
    from training.config import BatchConfig, RunConfig
    from training.models import embedding_gradient_by_row, model_load

    batch = BatchConfig(key="b", name="B", kind="general", path="none")
    directory = tiny_model_write(tmp_path / "model", tied=tied)
    network = model_load(RunConfig(model=str(directory), batches=(batch,)))
    embedding_gradient_by_row(network)
    item = example((20, 30), (40, 55))
    assert network.model.embed_tokens.sparse == tied
    _, ours = gradients(network, frozen_losses(network, [item], CPU))
    network.model.embed_tokens.sparse = False
    _, dense = gradients(network, frozen_losses(network, [item], CPU))
    name = "model.embed_tokens.weight"
    assert ours[name].layout == torch.strided
    torch.testing.assert_close(ours[name], dense[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("losses", [frozen_losses, masked_losses])
def test_nobody_holds_the_logits_while_the_caller_goes_backward(
    model: Any, losses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    read = streaming._loss

    def loss_watched(decisions: Any, conversations: int) -> Any:
        seen.append(weakref.ref(decisions))
        return read(decisions, conversations)

    monkeypatch.setattr(streaming, "_loss", loss_watched)
    for _ in losses(model, [example((10, 14), (30, 33))], CPU):
        assert seen
        assert seen[-1]() is None
