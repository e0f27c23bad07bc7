"""What a session measures of itself: against hand-made numbers, an SVD and a double backward."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from engine.process import DONE
from engine.tensornames import TensorName, layers_spread
from tests.tiny_model import VOCABULARY_SIZE, tiny_tokenizer_write
from tests.training.toys import events_of
from training.__main__ import main
from training.config import RunConfig
from training.measures.displacement import Reference
from training.measures.rank import (
    NO_TIME,
    NOT_MOVED,
    STOPPED,
    ChangeRanks,
    effective_rank,
    product_rank,
)
from training.measures.sharpness import Sharpness, batch_loss, sharpness_batch
from training.measures.sparsity import gradient_sparsity
from training.tensors.mapping import TensorMap

Recipe = dict[str, Any]
MakeRun = Callable[..., Path]


def parameter(gradient: Any) -> nn.Parameter:
    result = nn.Parameter(torch.zeros_like(torch.tensor(gradient)))
    result.grad = torch.tensor(gradient)
    return result


def test_small_entries_and_rows_are_counted_by_their_own_tensors_largest() -> None:
    """By hand: 4 of 6 and 1 of 2 entries are small; 1 of the matrix's 2 rows is."""
    matrix = parameter([[2.0, 1e-3, -1e-3], [-2e-3, 0.0, 1e-9]])  # the limit is 2e-3
    vector = parameter([5e-9, 1e-5])
    result = gradient_sparsity([matrix, vector])
    assert result.entries_share == pytest.approx(6 / 8)
    assert result.rows_share == pytest.approx(1 / 2)


def test_an_absent_gradient_and_one_of_zeros_are_small_throughout() -> None:
    absent = nn.Parameter(torch.ones(3, 4))
    zeros = parameter([[0.0, 0.0], [0.0, 0.0]])
    full = parameter([[1.0, 1.0]])
    frozen = nn.Parameter(torch.ones(50, 50), requires_grad=False)
    result = gradient_sparsity([absent, zeros, full, frozen])
    assert result.entries_share == pytest.approx(16 / 18)
    assert result.rows_share == pytest.approx(5 / 6)
    assert gradient_sparsity([parameter([1.0])]).rows_share is None


def test_a_large_gradient_is_counted_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    from training.measures import sparsity

    gradient = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)) ** 5
    whole = nn.Parameter(torch.zeros_like(gradient))
    whole.grad = gradient
    expected = gradient_sparsity([whole])
    assert 0.1 < expected.entries_share < 0.95
    monkeypatch.setattr(sparsity, "_PART_ENTRIES", 64)
    assert gradient_sparsity([whole]) == expected


def test_ranks_of_matrices_that_can_be_told_by_hand() -> None:
    line = effective_rank(torch.outer(torch.arange(1.0, 6.0), torch.ones(7)))
    assert line.rank_90 == 1
    assert line.entropy_rank == pytest.approx(1.0, abs=1e-5)
    even = effective_rank(torch.eye(10)[:, :8] * 1e-6)
    assert even.rank_90 == 8  # 7/8 is below 90 %
    assert even.entropy_rank == pytest.approx(8.0)
    # σ = 3, 1: p = ¾, ¼; σ² = 9, 1, so the first alone holds 90 %, up to rounding.
    two = effective_rank(torch.tensor([[0.0, 3.001, 0.0], [1.0, 0.0, 0.0]]))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert two.rank_90 == 1
    assert two.entropy_rank == pytest.approx(math.exp(entropy), rel=1e-3)
    assert effective_rank(torch.zeros(3, 4)).reason == NOT_MOVED


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (67, 131), (3, 2), (1, 5)])
def test_ranks_agree_with_a_singular_value_decomposition(shape: tuple[int, int]) -> None:
    """Also where the singular values fall over seven decades, as a real change's do."""
    torch.manual_seed(0)
    change = torch.randn(shape, dtype=torch.float64) * torch.logspace(0, -7, shape[1])
    sigma = torch.linalg.svdvals(change)
    shares = sigma / sigma.sum()
    held = (sigma**2).cumsum(0) / (sigma**2).sum()
    result = effective_rank(change)
    assert result.entropy_rank == pytest.approx(
        torch.exp(-(shares * shares.log()).sum()).item(), rel=1e-6
    )
    assert result.rank_90 == int((held < 0.9).sum()) + 1


def test_a_matrix_read_in_parts_has_the_same_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    change = torch.randn(130, 67)
    whole = effective_rank(change)
    monkeypatch.setattr("training.measures.rank._PART_ENTRIES", 670)
    result = effective_rank(change)
    assert result.entropy_rank == pytest.approx(whole.entropy_rank, rel=1e-9)
    assert result.rank_90 == whole.rank_90


@pytest.mark.parametrize("size", [(40, 3, 60), (60, 8, 40)])
def test_ranks_of_a_product_are_those_of_the_matrix_it_makes(size: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    rows, inner, columns = size
    out = torch.randn(rows, inner) * torch.logspace(0, -3, inner)
    into = torch.randn(inner, columns)
    sigma = torch.linalg.svdvals(out.double() @ into.double())[:inner]
    shares = sigma / sigma.sum()
    result = product_rank(out, into)
    expected = torch.special.entr(shares).sum().exp().item()
    assert result.entropy_rank == pytest.approx(expected, rel=1e-9)
    assert result.rank_90 == effective_rank(out.double() @ into.double()).rank_90
    assert product_rank(torch.zeros_like(out), into).reason == NOT_MOVED


def test_measuring_leaves_the_number_of_threads_as_it_was(model: Any, reference: Reference) -> None:
    """A small matrix is measured with one, for several wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        ranks = ChangeRanks(model, reference)
        ranks.measure(ranks.names[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def model(tiny_model_directory: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model_directory)


@pytest.fixture
def reference(model: Any, tiny_model_directory: Path) -> Reference:
    return Reference(tiny_model_directory, TensorMap.of(model, tiny_model_directory))


def test_what_was_not_measured_says_why(model: Any, reference: Reference) -> None:
    ranks = ChangeRanks(model, reference)
    told: list[tuple[int, int]] = []

    def measure(seconds: float, stop: bool = False) -> dict[str, str | None]:
        result = ranks.measure_all(
            seconds=seconds, stop=lambda: stop, progress=lambda *counts: told.append(counts)
        )
        return {name: one.reason for name, one in result.items()}

    assert set(measure(60).values()) == {NOT_MOVED}
    assert told[-1] == (15, 15)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] += 1.0
    reasons = measure(60)
    assert [name for name in reasons if reasons[name] is None] == [
        "model.layers.1.mlp.up_proj.weight"
    ]
    assert set(measure(0.0).values()) == {NO_TIME}
    assert set(measure(60, stop=True).values()) == {STOPPED}
    assert ranks.mean(
        {name: ranks.measure(name) for name in ranks.names if "up_proj" in name}
    ) == pytest.approx((1.0, 1.0))
    assert {TensorName.parse(name).layer for name in ranks.middle_layer()} == {1}


def test_layers_are_measured_far_apart() -> None:
    assert layers_spread(5) == [0, 4, 2, 1, 3]
    assert sorted(layers_spread(30)) == list(range(30))
    gpt2 = TensorName.parse("transformer.h.11.attn.c_attn.weight")
    assert (gpt2.layer, gpt2.part) == (11, "attn.c_attn")
    assert TensorName.parse("lm_head.weight").layer is None


def test_sharpness_is_the_curvature_along_the_step(
    recipe: Recipe, model: Any, tiny_model_directory: Path
) -> None:
    """vᵀHv/‖v‖² by two backward passes, in float64, after a step of plain descent."""
    from corpus.conversations import ChatEncoder
    from training.frozen.streaming import masked_losses
    from training.samples import curriculum_build

    encoder = ChatEncoder.from_directory(tiny_model_directory)
    samples = curriculum_build(RunConfig.from_json(recipe), encoder, 2048).samples
    batch = sharpness_batch(samples)
    assert 1 < len(batch) < len(samples)
    device = torch.device("cpu")

    def loss_of(one: nn.Module) -> Any:
        losses = list(masked_losses(one, [s.encoded for s in batch], device))
        count = sum(sum(part.token_counts) for part in losses)
        return sum(part.nll_sum for part in losses) / count

    sharpness = Sharpness(model, batch_loss(model, batch, device))
    loss_of(model).backward()
    steps = [-0.01 * one.grad for one in model.parameters()]
    places = [one.grad.data_ptr() for one in model.parameters()]
    expected = [one.detach() + step for one, step in zip(model.parameters(), steps, strict=True)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    sharpness.step(optimizer)
    for one, wanted in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(one.detach(), wanted)
    optimizer.step()  # as the training loop will: nothing is left to do
    assert [kept.data_ptr() for _, kept in sharpness._pairs or ()] == places  # no memory beside it
    after = [one.detach().clone() for one in model.parameters()]
    result = sharpness.measure()
    assert all(map(torch.equal, after, model.parameters()))
    assert not sharpness.is_waiting

    model.double().zero_grad()
    parameters = list(model.parameters())
    directions = [step.double() for step in steps]
    with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
        gradients = torch.autograd.grad(loss_of(model), parameters, create_graph=True)
        along = sum((g * v).sum() for g, v in zip(gradients, directions, strict=True))
        bent = torch.autograd.grad(along, parameters)
    curvature = sum((h * v).sum() for h, v in zip(bent, directions, strict=True))
    length = sum(v.square().sum() for v in directions)
    assert result == pytest.approx((curvature / length).item(), rel=0.02)


def test_a_step_of_no_length_has_no_sharpness(model: Any) -> None:
    sharpness = Sharpness(model, lambda: 1.0)
    for one in model.parameters():
        one.grad = torch.zeros_like(one)
    sharpness.step(torch.optim.SGD(model.parameters(), lr=0.01))
    assert sharpness.is_waiting
    assert sharpness.measure() is None


def test_what_has_no_gradient_or_one_that_is_laid_out_otherwise_is_measured_too() -> None:
    """L = (2a² + 3b² + c²)/2 along a step of a and b alone, whose curvatures are 2 and 3."""
    a, b, c = (nn.Parameter(torch.full((2, 3), value)) for value in (1.0, 2.0, 3.0))
    model = nn.ParameterList([a, b, c])
    sharpness = Sharpness(model, lambda: ((2 * a**2 + 3 * b**2 + c**2).double().sum() / 2).item())
    a.grad, b.grad = 2 * a.detach(), (3 * b.detach()).T.contiguous().T
    sharpness.step(torch.optim.SGD([a, b, c], lr=0.5))
    expected = [torch.zeros(2, 3), torch.full((2, 3), -1.0), torch.full((2, 3), 3.0)]
    assert all(map(torch.equal, expected, model))
    # The step is -1 in each of a and -3 in each of b: (2·1² + 3·3²) / (1² + 3²).
    assert sharpness.measure() == pytest.approx(2.9, rel=1e-4)
    assert all(map(torch.equal, expected, model))


OFF = dict.fromkeys(("gradient_sparsity", "gradient_cosine", "change_rank", "sharpness"), False)
ALWAYS = {"diagnostics_share": 1.0}


def gpt2_write(directory: Path) -> Path:
    """A GPT-2 with dropout, so that random numbers are drawn in every step."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tiny_tokenizer_write(directory)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY_SIZE, n_positions=512, n_embd=16, n_layer=2, n_head=2, n_inner=24
    )
    GPT2LMHeadModel(config).save_pretrained(directory)
    return directory


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["adamw", "apollo", "apollo_mini", "apollo-torch", "lora", "dropout"]
)
def test_measuring_changes_no_weight(
    recipe: Recipe, run_directory: MakeRun, tmp_path: Path, method: str
) -> None:
    changes: dict[str, Any] = {"method": {"name": method}}
    if method == "apollo-torch":
        changes = {"method": {"name": "apollo", "implementation": method}}
    if method == "dropout":
        place = str(gpt2_write(tmp_path / "gpt2"))
        changes = {"model": place, "anchor_model": place, "examples_per_step": 3}
    made = []
    for settings in (OFF, ALWAYS):
        directory = run_directory(recipe, **changes, diagnostics=settings)
        assert main([str(directory)]) == DONE
        made.append(directory)
    blind, watched = [load_file(one / "attempts/0/output/model.safetensors") for one in made]
    assert all(torch.equal(blind[name], watched[name]) for name in blind)
    measured = {name for e in events_of(made[1]) for name in e.get("values", ())}
    names = {
        "gradient_entries_small_share",
        "gradient_rows_small_share",
        "gradient_cosine",
        "sharpness",
        "middle_entropy_rank",
        "middle_rank_90",
    }
    assert names <= measured
    unmeasured = {name for e in events_of(made[0]) for name in e.get("values", ())}
    assert not names & unmeasured


@pytest.mark.slow
def test_the_record_holds_every_tensors_way_and_every_matrix_rank(
    recipe: Recipe, run_directory: MakeRun
) -> None:
    rank = 3
    directory = run_directory(
        recipe, method={"name": "lora", "rank": rank}, diagnostics={"diagnostics_share": 1.0}
    )
    assert main([str(directory)]) == DONE
    record = json.loads((directory / "attempts/0/output/displacement.json").read_text())
    tensors = record["parent"]["tensors"]
    projection = tensors["model.layers.0.self_attn.q_proj.weight"]
    assert projection["shape"] == [32, 32]
    assert projection["norm"] > 0
    assert 1 <= projection["rank_90"] <= rank
    assert 1 <= projection["entropy_rank"] <= rank
    assert tensors["model.embed_tokens.weight"]["rank_reason"] == NOT_MOVED
    assert "rank_90" not in tensors["model.norm.weight"]
    assert "rank_90" not in record["pretrained"]["tensors"]["model.embed_tokens.weight"]
    summary = events_of(directory)[-1]["summary"]
    assert 1 <= summary["rank_90"] <= rank
    assert summary["rank_matrices"] == 15
    assert summary["rank_matrices_measured"] == 14
    assert summary["diagnostics"]["sharpness"]["measured_steps"] >= 1
