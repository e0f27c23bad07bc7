"""L2 toward the parent and EWC: gradients against autograd, F by hand, runs that stay put."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from corpus.conversations import ChatEncoder
from engine.checks import ConfigError
from engine.process import BAD_INPUT, DONE
from tests.training.toys import batch_ingest, conversation, events_of
from training.__main__ import main
from training.config import DefencesConfig, RunConfig, example_config
from training.defences.fisher import fisher_measure, fisher_samples
from training.defences.penalties import ParentPenalty, moved_weights
from training.frozen.streaming import masked_losses
from training.methods.lora import METHOD as LORA
from training.samples import Pool, curriculum_build

Recipe = dict[str, Any]
MakeRun = Callable[..., Path]
BOTH = DefencesConfig(l2_strength=0.3, ewc_strength=2.0)


@pytest.fixture
def model(tiny_model_directory: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model_directory)


@pytest.fixture
def pools(recipe: Recipe, tiny_model_directory: Path) -> list[Pool]:
    encoder = ChatEncoder.from_directory(tiny_model_directory)
    return list(curriculum_build(RunConfig.from_json(recipe), encoder, 2048).pools)


def gpt2() -> Any:
    """Its Conv1D layers keep their weights the other way round."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=260, n_positions=512, n_embd=8, n_layer=1, n_head=2)
    return GPT2LMHeadModel(config)


def with_adapter(model: Any) -> Any:
    """A LoRA adapter that already does something."""
    recipe = {**example_config(), "method": {"name": "lora", "rank": 3}}
    adapted = LORA.attach(model, RunConfig.from_json(recipe).method)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.1)
    return adapted


def fisher_like(weights: dict[str, Any], *, rows: bool) -> dict[str, torch.Tensor]:
    """Random numbers above 0 in the place of F; for rows one along the last axis."""
    generator = torch.Generator().manual_seed(1)
    shapes = {
        name: [*stored.shape[:-1], 1] if rows and stored.ndim > 1 else list(stored.shape)
        for name, (stored, _) in weights.items()
    }
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def penalised(model: Any, weights: dict[str, Any], fisher: dict[str, torch.Tensor]) -> Any:
    return ParentPenalty({name: moved for name, (_, moved) in weights.items()}, fisher, BOTH)


@pytest.mark.parametrize("rows", [False, True])
def test_the_gradient_is_that_of_the_written_formula(model: Any, rows: bool) -> None:
    parents = {name: p.detach().clone() for name, p in model.named_parameters()}
    weights = moved_weights(model)
    fisher = fisher_like(weights, rows=rows)
    penalty = penalised(model, weights, fisher)
    assert set(weights) == set(parents)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.01 * torch.randn_like(p))
            p.grad = torch.ones_like(p)
    values = penalty.gradient_add()
    measured = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    l2 = sum(0.5 * 0.3 * ((p - parents[n]) ** 2).sum() for n, p in model.named_parameters())
    ewc = sum(
        0.5 * 2.0 * (fisher[n] * (p - parents[n]) ** 2).sum() for n, p in model.named_parameters()
    )
    (l2 + ewc).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(measured[name], 1.0 + p.grad)
    assert values["penalty_nats/l2"] == pytest.approx(l2.item(), rel=1e-5)
    assert values["penalty_nats/ewc"] == pytest.approx(ewc.item(), rel=1e-5)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_with_lora_the_gradient_is_that_of_the_merged_change(
    model: Any, kind: str, rows: bool
) -> None:
    adapted = with_adapter(model if kind == "llama" else gpt2())
    weights = moved_weights(adapted)
    fisher = fisher_like(weights, rows=rows)
    values = penalised(adapted, weights, fisher).gradient_add()
    adapters = {n: p for n, p in adapted.named_parameters() if ".lora_" in n}
    measured = {name: p.grad.clone() for name, p in adapters.items()}
    adapted.zero_grad()
    base = adapted.get_base_model()
    l2, ewc = torch.zeros(()), torch.zeros(())
    for name in weights:
        module = base.get_submodule(name.removesuffix(".base_layer.weight"))
        moved = module.get_delta_weight("default") ** 2  # peft's own product, with its graph
        l2 = l2 + 0.5 * 0.3 * moved.sum()
        ewc = ewc + 0.5 * 2.0 * (fisher[name] * moved).sum()
    (l2 + ewc).backward()
    assert len(adapters) == 2 * len(weights) > 0
    for name, p in adapters.items():
        torch.testing.assert_close(measured[name], p.grad, rtol=1e-4, atol=1e-7)
    assert values["penalty_nats/l2"] == pytest.approx(l2.item(), rel=1e-5)
    assert values["penalty_nats/ewc"] == pytest.approx(ewc.item(), rel=1e-5)


def fisher_of(model: Any, pools: list[Pool], variant: str) -> dict[str, torch.Tensor]:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return fisher_measure(
        base,
        {n: stored for n, (stored, _) in moved_weights(model).items() if stored is not None},
        fisher_samples(pools, 4, seed=0),
        variant=variant,
        device=torch.device("cpu"),
        on_example=lambda _: None,
    )


def test_fisher_is_the_mean_of_squared_gradients_of_single_examples(
    model: Any, pools: list[Pool]
) -> None:
    model.train()
    measured = fisher_of(model, pools, "diagonal")
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    model.eval()
    squares = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    together = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    tokens = 0
    for sample in fisher_samples(pools, 4, seed=0):
        ids = torch.tensor([sample.encoded.token_ids])
        learnt = [
            i for s in sample.encoded.segments if s.is_decision for i in range(s.start, s.end)
        ]
        logits = model(input_ids=ids).logits[0, [i - 1 for i in learnt]]
        model.zero_grad()
        cross_entropy(logits, ids[0, learnt], reduction="sum").backward()
        tokens += len(learnt)
        for name, p in model.named_parameters():
            squares[name] += p.grad**2
            together[name] += p.grad
    assert measured.keys() == squares.keys()
    for name, value in squares.items():
        torch.testing.assert_close(measured[name], value / tokens, rtol=1e-4, atol=1e-9)
    name = "model.norm.weight"
    assert not torch.allclose(measured[name], together[name] ** 2 / tokens, rtol=0.1)


def held_bytes(work: Callable[[], Any]) -> int:
    """What autograd holds at the end of the largest forward of a piece of work."""
    held: dict[int, int] = {}
    largest = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        held[tensor.data_ptr()] = tensor.nbytes
        largest = max(largest, sum(held.values()))
        return tensor

    def unpack(tensor: torch.Tensor) -> torch.Tensor:
        held.clear()  # the backward has begun
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        work()
    return largest


def test_fisher_does_not_hold_the_graph_of_the_context(model: Any, pools: list[Pool]) -> None:
    """Its memory would be that of ordinary training, which a frozen context is to avoid."""

    def ordinary() -> None:
        for sample in pools[0].train:
            for loss in masked_losses(model, [sample.encoded], torch.device("cpu")):
                loss.nll_sum.backward()

    whole = held_bytes(ordinary)
    assert 0 < held_bytes(lambda: fisher_of(model, pools, "row")) < whole / 4


def test_one_number_a_row_is_the_rows_mean(model: Any, pools: list[Pool]) -> None:
    single, rows = (fisher_of(model, pools, variant) for variant in ("diagonal", "row"))
    for name, value in rows.items():
        expected = single[name].mean(-1, keepdim=True) if value.ndim > 1 else single[name]
        torch.testing.assert_close(value, expected)


def test_a_row_of_gpt2_is_an_output_too(pools: list[Pool]) -> None:
    rows = fisher_of(gpt2(), pools, "row")
    assert rows["transformer.h.0.attn.c_attn.weight"].shape == (1, 24)
    assert rows["transformer.wte.weight"].shape == (260, 1)


def test_with_lora_fisher_is_that_of_the_weights_below(model: Any, pools: list[Pool]) -> None:
    plain = fisher_of(model, pools, "diagonal")
    recipe = RunConfig.from_json({**example_config(), "method": {"name": "lora"}})
    adapted = LORA.attach(model, recipe.method)
    measured = fisher_of(adapted, pools, "diagonal")
    for name, value in measured.items():
        torch.testing.assert_close(value, plain[name.replace(".base_layer", "")])
    for name, p in adapted.named_parameters():
        assert p.requires_grad == (".lora_" in name)
        assert p.grad is None


def test_examples_for_fisher_are_general_and_drawn_with_a_seed(pools: list[Pool]) -> None:
    (pool,) = pools
    held = Pool(name="H", kind="general", train=[], held_out=pool.train, too_long_count=0)
    other = Pool(name="O", kind="dream", train=pool.train, held_out=[], too_long_count=0)
    assert fisher_samples([held, other], 4, seed=0) == []
    chosen = fisher_samples(pools, 4, seed=0)
    assert len({id(sample) for sample in chosen}) == 4
    assert fisher_samples(pools, 4, seed=0) == chosen != fisher_samples(pools, 4, seed=1)
    assert len(fisher_samples(pools, 400, seed=0)) == len(pool.train)


def run_of(recipe: Recipe, run_directory: MakeRun, **changes: Any) -> list[dict[str, Any]]:
    directory = run_directory(recipe, **changes)
    assert main([str(directory)]) == DONE
    return events_of(directory)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["apollo", "lora"])
def test_a_strong_penalty_holds_the_weights(
    recipe: Recipe, run_directory: MakeRun, method: str
) -> None:
    def displacement(**defences: float) -> float:
        change = {"method": {"name": method}, "defences": defences, "epochs": 2}
        return float(run_of(recipe, run_directory, **change)[-1]["summary"]["displacement"])

    assert displacement(l2_strength=1e6) < displacement() / 3


def test_the_penalty_is_that_of_the_weights_before_the_step(
    recipe: Recipe, run_directory: MakeRun
) -> None:
    """Also where a step has several microbatches: ½ λ displacement², once."""
    events = run_of(recipe, run_directory, defences={"l2_strength": 0.5}, examples_per_step=5)
    first, second = (e["values"] for e in events if e["event"] == "metric")
    assert first["penalty_nats/l2"] == 0.0
    assert second["penalty_nats/l2"] == pytest.approx(0.25 * first["displacement"] ** 2, rel=1e-4)


def test_ewc_lowers_what_general_text_loses(recipe: Recipe, run_directory: MakeRun) -> None:
    """Its own estimate of that loss, which is what it holds down, against a strength of next to
    nothing; F is another for the same weights, so one run measures both."""

    def estimate(strength: float) -> float:
        defences = {"ewc_strength": strength, "ewc_variant": "diagonal", "ewc_examples": 40}
        events = run_of(recipe, run_directory, defences=defences, epochs=2)
        assert any("only 10 general" in e.get("message", "") for e in events)
        last = [e["values"] for e in events if e["event"] == "metric"][-1]
        return float(last["penalty_nats/ewc"]) / strength

    assert estimate(1e4) < estimate(1e-9) / 3


def test_ewc_without_a_general_batch_is_refused_by_name(
    recipe: Recipe, run_directory: MakeRun
) -> None:
    batch = {**recipe["batches"][0], "kind": "dream"}
    directory = run_directory(recipe, batches=[batch], defences={"ewc_strength": 1.0})
    assert main([str(directory)]) == BAD_INPUT
    error = events_of(directory)[-1]
    assert error["where"] == "defences.ewc_strength"
    assert "kind general" in error["cure"]


@pytest.mark.parametrize(
    ("defences", "where"),
    [
        ({"l2_strength": 0}, "l2_strength"),
        ({"ewc_strength": -1}, "ewc_strength"),
        ({"ewc_strength": 1, "ewc_variant": "full"}, "ewc_variant"),
        ({"ewc_strength": 1, "ewc_examples": 0}, "ewc_examples"),
        ({"ewc_variant": "row"}, "ewc_variant"),
        ({"ewc_examples": 8}, "ewc_examples"),
        ({"mask_below_probability": 0}, "mask_below_probability"),
        ({"mask_below_probability": 1.5}, "mask_below_probability"),
    ],
)
def test_a_wrong_setting_is_named(defences: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DefencesConfig(**defences)
    assert caught.value.where == f"defences.{where}"


def test_held_out_examples_are_read_and_kept_apart(
    recipe: Recipe, tmp_path: Path, tiny_model_directory: Path
) -> None:
    records = [conversation(number, decisions=1, any_side=True) for number in range(40)]
    path = batch_ingest(tmp_path / "batch", tiny_model_directory, records)
    config = RunConfig.from_json(
        {**recipe, "batches": [{**recipe["batches"][0], "path": str(path)}]}
    )
    measured = curriculum_build(config, ChatEncoder.from_directory(tiny_model_directory), 2048)
    (pool,) = measured.pools
    assert len(pool.train) + len(pool.held_out) == 40
    assert 0 < len(pool.held_out) < 20
    assert all(any(sample is one for one in pool.train) for sample in measured.samples)
