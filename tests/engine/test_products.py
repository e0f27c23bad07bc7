"""Linear layers whose products oneDNN computes, against torch's own."""

import copy

import pytest
import torch
from torch import nn

from engine.products import (
    OneDnnLinear,
    WeightGradients,
    linear_layers_prepare,
    onednn_is_faster,
)


@pytest.fixture(autouse=True)
def on_any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right everywhere, though it is used only where it is faster."""
    monkeypatch.setattr("engine.products.onednn_is_faster", lambda: True)


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_the_processor_decides(monkeypatch: pytest.MonkeyPatch, capability: str) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    model = nn.Sequential(nn.Linear(4, 4))
    assert onednn_is_faster() == (capability == "AVX512")
    assert linear_layers_prepare(model) == (capability == "AVX512")
    assert type(model[0]) is (OneDnnLinear if capability == "AVX512" else nn.Linear)


def pair(bias: bool = True) -> tuple[nn.Linear, OneDnnLinear]:
    """The same layer twice, torch's own and ours."""
    torch.manual_seed(0)
    plain = nn.Linear(48, 80, bias=bias)
    ours = copy.deepcopy(plain)
    assert linear_layers_prepare(ours) == 1
    assert isinstance(ours, OneDnnLinear)
    return plain, ours


def close(a: torch.Tensor | None, b: torch.Tensor | None) -> None:
    assert a is not None
    assert b is not None
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_all_gradients_are_those_of_torch(shape: tuple[int, ...], bias: bool) -> None:
    plain, ours = pair(bias)
    first = torch.randn(*shape, 48, requires_grad=True)
    second = first.detach().clone().requires_grad_()
    wanted, result = plain(first), ours(second)
    close(result, wanted)
    factors = torch.randn_like(wanted)
    (wanted * factors).sum().backward()
    (result * factors).sum().backward()
    close(second.grad, first.grad)
    close(ours.weight.grad, plain.weight.grad)
    if bias:
        close(ours.bias.grad, plain.bias.grad)


def test_gradients_without_strides_are_read_right() -> None:
    """The gradient of a sum is one number seen many times, with strides of 0."""
    plain, ours = pair()
    inputs = torch.randn(6, 48)
    plain(inputs).sum().backward()
    ours(inputs).sum().backward()
    close(ours.weight.grad, plain.weight.grad)


@pytest.mark.parametrize("lengths", [[5], [5, 9, 3], [200, 100, 30, 7], [300, 300]])
def test_gathered_gradients_are_the_sum_of_all_backwards(lengths: list[int]) -> None:
    plain, ours = pair()
    parts = [torch.randn(length, 48) for length in lengths]
    with WeightGradients.gathered(ours):
        for inputs in parts:
            ours(inputs).square().sum().backward()
    for inputs in parts:
        plain(inputs).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(ours.bias.grad, plain.bias.grad, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("lengths", "trims"), [([5, 9], [False, True]), ([200, 100], [])])
def test_the_heap_is_trimmed_before_and_after_gradients_that_come_last(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], trims: list[bool]
) -> None:
    """Beside gradients that came earlier trimming serves nothing, and costs the next step pages."""
    _, ours = pair(bias=False)
    seen = []
    monkeypatch.setattr(
        "engine.process.Heap.trim", lambda _: seen.append(ours.weight.grad is not None)
    )
    with WeightGradients.gathered(ours):
        for length in lengths:
            ours(torch.randn(length, 48)).sum().backward()
    assert seen == trims
    assert ours.weight.grad is not None


def test_a_second_step_adds_to_the_first() -> None:
    plain, ours = pair()
    inputs = torch.randn(6, 48)
    for _ in range(2):
        with WeightGradients.gathered(ours):
            ours(inputs).sum().backward()
        plain(inputs).sum().backward()
    close(ours.weight.grad, plain.weight.grad)


def test_large_products_are_added_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.products._CACHED_NUMBERS", 48 * 7)
    plain, ours = pair()
    inputs = torch.randn(6, 48)
    for layer in (plain, ours):
        layer.weight.grad = torch.ones_like(layer.weight)
    with WeightGradients.gathered(ours):
        ours(inputs).square().sum().backward()
    plain(inputs).square().sum().backward()
    close(ours.weight.grad, plain.weight.grad)


def test_a_head_that_is_the_embedding_gets_both_gradients() -> None:
    """The embedding's rows are sparse, and stay an addition to a dense gradient."""
    torch.manual_seed(0)
    embedding, head = nn.Embedding(20, 8, sparse=True), nn.Linear(8, 20, bias=False)
    head.weight = embedding.weight
    model = nn.Sequential(embedding, head)
    tokens = torch.tensor([3, 1, 3])
    plain, plain_head = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
    plain_head.weight = plain.weight = nn.Parameter(embedding.weight.detach().clone())
    dense = nn.Sequential(plain, plain_head)
    linear_layers_prepare(model)
    for network in (model, dense):
        with WeightGradients.gathered(network):
            network(tokens).square().sum().backward()
    result = embedding.weight.grad
    assert result is not None
    assert not result.is_sparse
    close(result, plain.weight.grad)


def test_autograd_gets_its_gradient_where_nothing_gathers() -> None:
    plain, ours = pair()
    inputs = torch.randn(6, 48)
    (wanted,) = torch.autograd.grad(plain(inputs).sum(), [plain.weight])
    (result,) = torch.autograd.grad(ours(inputs).sum(), [ours.weight])
    close(result, wanted)
    assert ours.weight.grad is None


def test_nothing_gathers_after_an_error() -> None:
    _, ours = pair()
    with pytest.raises(ValueError, match="stop"), WeightGradients.gathered(ours):
        ours(torch.randn(6, 48)).sum().backward()
        raise ValueError("stop")
    assert OneDnnLinear.gathering is None
    assert ours.weight.grad is None


def test_other_dtypes_and_kinds_of_layers_keep_torchs_way() -> None:
    _, ours = pair()
    inputs = torch.randn(6, 48).bfloat16()
    assert ours.bfloat16()(inputs).dtype == torch.bfloat16

    class Own(nn.Linear):
        pass

    assert linear_layers_prepare(Own(4, 4)) == 0


def test_where_torch_multiplies_no_gradient_is_made_beforehand() -> None:
    embedding, head = nn.Embedding(20, 8, sparse=True), nn.Linear(8, 20, bias=False)
    head.weight = embedding.weight
    with WeightGradients.gathered(nn.Sequential(embedding, head)):
        assert embedding.weight.grad is None
