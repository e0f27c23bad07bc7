"""LoRA beside a base in few bits: what learns, what is merged, what is measured and refused.

bitsandbytes computes on the processor too, so everything below the refusal of a machine without a
GPU is tried there as well.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import set_seed

from corpus.encoded import EncodedExample, Segment
from engine.attempt import Attempt
from engine.checks import ConfigError
from engine.manifest import manifest_read
from engine.process import BAD_INPUT, DONE, StopRequest
from tests.training.published import published_write
from tests.training.toys import events_of
from training.__main__ import main
from training.config import RunConfig, example_config
from training.defences.penalties import moved_weights
from training.frozen.streaming import frozen_losses
from training.measures.displacement import Reference
from training.methods.lora import METHOD
from training.models import causal_model
from training.quantised.base import Rounding, base_quantise, package_check
from training.quantised.layers import QuantisedLinear
from training.ranks.launch import Launch
from training.tensors.adapting import adapter_attach
from training.tensors.checking import model_without_weights
from training.tensors.mapping import TensorMap
from training.tensors.reading import as_if_there
from training.tensors.weights import plain_name, weight_sources
from training.tensors.writing import weights_write

MakeRun = Callable[..., Path]
RANK, ALPHA = 4, 12.0
TALK = EncodedExample(
    token_ids=[(7 * n) % 250 for n in range(60)],
    segments=[Segment(start=40, end=60, is_decision=True)],
)


def quantised(
    directory: Path,
    *,
    bits: int = 4,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> tuple[Any, TensorMap, Rounding]:
    """A directory's model as the engine has it, with an adapter whose start is always the same."""
    package_check(bits)
    model = model_without_weights(directory, dtype)
    tensors = TensorMap.of(model, directory)
    set_seed(0)
    with as_if_there(model):
        model = adapter_attach(model, RANK, ALPHA)
    rounding = base_quantise(
        model, directory, tensors, bits=bits, dtype=dtype, device=torch.device(device)
    )
    return model, tensors, rounding


def layers_of(model: nn.Module) -> dict[str, QuantisedLinear]:
    return {m.original.name: m for m in model.modules() if isinstance(m, QuantisedLinear)}


@pytest.fixture(scope="module", params=["qwen3_5", "qwen3_moe"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with vision that text does not reach, and one with experts in one tensor."""
    return published_write(request.param, tmp_path_factory.mktemp(request.param) / "model")


def stored(directory: Path) -> dict[str, torch.Tensor]:
    """All tensors of a directory's files."""
    files = sorted(directory.glob("*.safetensors"))
    return {name: one for file in files for name, one in load_file(file).items()}


def whole_twin(directory: Path, layers: dict[str, QuantisedLinear]) -> Any:
    """A model with an adapter in the ordinary way, whose weights are what `layers` restore."""
    model = causal_model(directory, torch.float32)
    for name, parameter in model.named_parameters():
        if name in layers:
            parameter.data.copy_(layers[name].weight)
    set_seed(0)
    return adapter_attach(model, RANK, ALPHA)


@pytest.mark.parametrize("bits", [4, 8])
def test_everything_but_the_rounded_weights_is_as_without(published: Path, bits: int) -> None:
    model, _, rounding = quantised(published, bits=bits)
    layers = layers_of(model)
    assert layers and {4: 0.05, 8: 0.003}[bits] < rounding.off < {4: 0.11, 8: 0.01}[bits]
    twin = whole_twin(published, layers)
    theirs = {plain_name(name): one for name, one in twin.get_base_model().named_parameters()}
    ours = {plain_name(name): one for name, one in model.get_base_model().named_parameters()}
    assert theirs.keys() - ours.keys() == layers.keys()
    for name, parameter in ours.items():
        assert torch.equal(parameter, theirs[name]), name
        assert parameter.requires_grad == theirs[name].requires_grad
        assert parameter.requires_grad == (".lora_" in name)
    buffers = dict(twin.get_base_model().named_buffers())
    for name, buffer in model.get_base_model().named_buffers():
        assert torch.equal(buffer, buffers[name]), name
    experts = {name for name in ours if "experts" in name and ".lora_" not in name}
    assert bool(experts) == any("experts" in part for part in rounding.in_full)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_gradient_is_that_of_the_restored_weights(published: Path, bits: int) -> None:
    """With frozen context, against LoRA in the ordinary way over the same weights."""
    model, *_ = quantised(published, bits=bits)
    twin = whole_twin(published, layers_of(model))
    results = []
    for one in (model, twin):
        one.eval()
        for module in one.modules():  # at its start B is 0, and A gets no gradient
            if hasattr(module, "lora_B") and "default" in module.lora_B:
                nn.init.constant_(module.lora_B["default"].weight, 0.01)
        losses = list(frozen_losses(one, [TALK], torch.device("cpu")))
        for loss in losses:
            loss.nll_sum.backward()
        gradients = {n: p.grad for n, p in one.named_parameters() if p.grad is not None}
        results.append((sum(loss.nll_sum.item() for loss in losses), gradients))
    (ours, own), (theirs, others) = results
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert own.keys() == others.keys() == {n for n, p in model.named_parameters() if ".lora_" in n}
    for name, gradient in own.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_adapter_is_merged_into_the_parents_own_weights(
    published: Path, tmp_path: Path, bits: int
) -> None:
    """Original + α/r · B · A to the bit; everything else is the parent's file, to the bit."""
    model, tensors, _ = quantised(published, bits=bits)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, std=0.02)
    tmp_path.joinpath("out").mkdir()
    weights_write(tmp_path / "out", published, model, tensors)
    before, after = map(stored, (published, tmp_path / "out"))
    assert before.keys() == after.keys()
    sources = weight_sources(model)
    moved = set()
    for group in tensors.groups:
        adapter = sources[group.parameters[0]][1]
        if group.parameters[0] not in layers_of(model):
            continue
        (name,) = group.files
        b, a = adapter.lora_B["default"].weight, adapter.lora_A["default"].weight
        product = (b @ a) * (ALPHA / RANK)
        assert torch.equal(after[name], (before[name] + product).detach()), name
        moved.add(name)
    assert len(moved) == len(layers_of(model))
    adapted = {f for g in tensors.groups for p in g.parameters if sources[p][1] for f in g.files}
    for name in before.keys() - adapted:
        assert torch.equal(after[name], before[name]), name
    displacement = Reference(published, tensors).measure(model)
    expected = sum((after[n].double() - before[n].double()).square().sum() for n in before) ** 0.5
    assert displacement.norm == pytest.approx(float(expected), rel=1e-5)


def test_untrained_it_has_not_moved_at_all(published: Path) -> None:
    """However far 4 bit are off: what is measured is what is judged."""
    model, tensors, rounding = quantised(published, bits=4)
    assert rounding.off > 0.05
    assert Reference(published, tensors).measure(model).norm == 0.0


def test_l2_pulls_at_the_same_weights_as_without(tmp_path: Path) -> None:
    directory = published_write("llama", tmp_path / "model")
    model, *_ = quantised(directory)
    moved = moved_weights(model)
    assert moved.keys() == moved_weights(whole_twin(directory, layers_of(model))).keys()
    assert len(moved) == len(layers_of(model)) == 14


def test_a_model_without_linear_layers_is_refused(tmp_path: Path) -> None:
    directory = published_write("gpt2", tmp_path / "model")
    with pytest.raises(ConfigError, match="gpt2 have no layer that can be held in 4 bit") as caught:
        quantised(directory)
    assert caught.value.where == "method.base_bits"


def test_weights_that_come_back_wrong_are_refused(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As bitsandbytes 0.50.2 restores rows of less than a block on the processor."""
    restored = QuantisedLinear.weight.fget  # type: ignore[attr-defined]
    wrong = property(lambda layer: restored(layer).roll(1, 0))
    monkeypatch.setattr(QuantisedLinear, "weight", wrong)
    with pytest.raises(ConfigError, match="which cannot be right"):
        quantised(published)


# The engine, from a recipe to a checkpoint.


@pytest.fixture
def any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a machine without a GPU through; bitsandbytes must be there all the same."""
    monkeypatch.setattr("training.run.machine_check", lambda bits, device: package_check(bits))


def method_of(bits: int, **more: Any) -> dict[str, Any]:
    return {"method": {"name": "lora", "rank": RANK, "base_bits": bits}, "device": "auto", **more}


def weights_of(directory: Path, attempt: int = 0) -> dict[str, torch.Tensor]:
    return load_file(directory / f"attempts/{attempt}/output/model.safetensors")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_run_learns_and_says_what_it_measured(
    recipe: dict[str, Any],
    run_directory: MakeRun,
    any_machine: None,
    either_device: str,
    bits: int,
    dtype: str,
) -> None:
    device = {"cpu": "auto", "cuda": "cuda"}[either_device]  # a recipe for the processor is refused
    settings: dict[str, Any] = {"dtype": dtype, "defences": {"l2_strength": 0.01}, "max_steps": 3}
    directory = run_directory(recipe, **method_of(bits, **settings) | {"device": device})
    assert main([str(directory)]) == DONE
    output = directory / "attempts/0/output"
    parent = load_file(Path(recipe["model"]) / "model.safetensors")
    moved = weights_of(directory)
    changed = {n for n, one in moved.items() if not torch.equal(one, parent[n].to(one.dtype))}
    assert changed and all("proj" in name for name in changed)
    events = events_of(directory)
    if either_device == "cuda" or not torch.cuda.is_available():
        assert events[-1]["summary"]["device"].startswith(either_device)
    distance = sum((moved[n].double() - parent[n].double()).square().sum() for n in moved) ** 0.5
    assert events[-1]["summary"]["displacement"] == pytest.approx(float(distance), rel=1e-3)
    warned = " ".join(e["message"] for e in events if e["event"] == "warning")
    assert f"in {bits} bit the layers' weights are off by" in warned
    assert f"are those of the base in {bits} bit" in warned
    assert "bitsandbytes" in json.loads((output / "recipe.json").read_text())["versions"]
    assert f"held in {bits} bit, merged" in (output / "README.md").read_text()
    assert manifest_read(output)


def test_a_run_goes_on_from_its_state_to_the_bit(
    recipe: dict[str, Any], run_directory: MakeRun, any_machine: None
) -> None:
    whole = run_directory(recipe, **method_of(4, max_steps=6))
    assert main([str(whole)]) == DONE
    (state,) = [e["path"] for e in events_of(whole) if e["event"] == "saved"]
    assert main([str(whole), "--attempt", "1", "--resume", state]) == DONE
    first, second = weights_of(whole), weights_of(whole, 1)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="two processes would need two GPUs")
def test_two_processes_learn_what_one_does(
    recipe: dict[str, Any], run_directory: MakeRun, any_machine: None, tmp_path: Path
) -> None:
    """Each has the whole base, rounded alike; gradients of the adapter are summed."""
    settings = method_of(4, max_steps=3, examples_per_step=4)
    one, two = run_directory(recipe, **settings), run_directory(recipe, **settings)
    config = json.loads((two / "config.json").read_text()) | {"ranks": {"processes": 2}}
    (two / "config.json").write_text(json.dumps(config))
    assert main([str(one)]) == DONE
    (tmp_path / "runs.json").write_text(json.dumps([[str(two), 0, None]]))
    program = ("-m", "tests.training.quantised.rank_program")
    with Launch(Attempt(tmp_path, 0, None, StopRequest()), 2, program=program) as launch:
        launch.follow()
    first, second = weights_of(one), weights_of(two)
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the refusal of a machine without a GPU")
def test_without_a_gpu_it_is_refused_before_anything_is_loaded(
    recipe: dict[str, Any], run_directory: MakeRun
) -> None:
    directory = run_directory(recipe, **method_of(4))
    assert main([str(directory)]) == BAD_INPUT
    (error,) = [e for e in events_of(directory) if e["event"] == "error"]
    assert error["where"] == "method.base_bits"
    assert "needs a CUDA GPU, and this machine has none" in error["message"]
    assert not any(e["event"] == "progress" for e in events_of(directory))


def test_without_the_package_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="the package bitsandbytes, which is not installed") as it:
        package_check(8)
    assert "ftportal[quantised]" in it.value.cure


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"method": {"name": "adamw", "base_bits": 4}}, "method.base_bits"),
        ({"method": {"name": "apollo", "base_bits": 8}}, "method.base_bits"),
        ({"method": {"name": "lora", "base_bits": 2}}, "method.base_bits"),
        ({"method": {"name": "lora", "base_bits": True}}, "method.base_bits"),
        (method_of(4, device="cpu"), "method.base_bits"),
        (method_of(4, ranks={"processes": 2, "sharding": "fsdp2"}), "ranks.sharding"),
        (method_of(8, defences={"ewc_strength": 1.0}), "defences.ewc_strength"),
    ],
    ids=str,
)
def test_what_cannot_be_honoured_is_refused_by_name(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_json({**example_config(), **changes})
    assert caught.value.where == where and caught.value.cure
    assert "bit" in str(caught.value) or "base_bits" in caught.value.where


@pytest.mark.parametrize("bits", [4, 8])
def test_the_estimate_counts_what_is_held(published: Path, bits: int) -> None:
    """Against the layers themselves; the rest at two bytes a number."""
    model, *_ = quantised(published, bits=bits, dtype=torch.bfloat16)
    named = model.get_base_model().named_parameters()
    base = {plain_name(name): one for name, one in named if ".lora_" not in name}
    layers = layers_of(model)
    shapes = {name: tuple(one.shape) for name, one in base.items()}
    shapes |= {name: layer.original.shape for name, layer in layers.items()}
    held = 2 * sum(one.numel() for one in base.values())
    held += sum(layer.quantised.size_bytes for layer in layers.values())
    config = RunConfig.from_json({**example_config(), **method_of(bits)})
    counted = METHOD.base_bytes(config.method, shapes, 2)
    # Which expert a token goes to is a matrix too, but no layer: the estimate cannot tell by name.
    routers = 2 * sum(one.numel() for name, one in base.items() if name.endswith("mlp.gate.weight"))
    assert held - routers <= counted <= held
    largest = max(layer.original.numel() for layer in layers.values())
    assert METHOD.restored_bytes(config.method, shapes, 2) == 2 * largest
