"""Models as they are published, with tensors that text does not reach: every one comes back."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from engine.manifest import manifest_check
from engine.process import DONE
from tests.training.published import published_write
from tests.training.toys import batch_ingest, conversation, events_of, recipe_of
from training.__main__ import main
from training.blend.__main__ import main as blend_main

Tensors = dict[str, torch.Tensor]
MakeRun = Callable[..., Path]
TEXT = {"qwen3_5_published": "model.language_model.", "gemma3_published": "language_model."}
"""What the names of the tensors begin with that text reaches, beside the head's."""


@pytest.fixture(scope="module", params=list(TEXT))
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory in bfloat16, named after its shape."""
    directory = tmp_path_factory.mktemp("published") / request.param
    return published_write(request.param, directory, dtype=torch.bfloat16)


@pytest.fixture
def trained(published: Path, tmp_path: Path, run_directory: MakeRun) -> Callable[..., Path]:
    """`trained(model)`: the output of three frozen steps from a model."""
    records = [conversation(number) for number in range(4)]
    examples = batch_ingest(tmp_path / "ingestion", published, records)

    def train(model: Path, **changes: Any) -> Path:
        recipe = recipe_of(model, examples) | {"anchor_model": str(published), "max_steps": 3}
        directory = run_directory(recipe, **changes)
        assert main([str(directory)]) == DONE, events_of(directory)[-1]
        return directory / "attempts/0/output"

    return train


def tensors_of(directory: Path) -> Tensors:
    return load_file(directory / "model.safetensors")


def is_text(published: Path, name: str) -> bool:
    return name.startswith((TEXT[published.name], "lm_head."))


def summary_of(output: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads((output / "recipe.json").read_bytes())["summary"]
    return recipe


def assert_loads_by_its_own_class(output: Path, published: Path) -> Any:
    settings = json.loads((output / "config.json").read_bytes())
    before = json.loads((published / "config.json").read_bytes())
    assert settings["architectures"] == before["architectures"]
    assert settings.keys() == before.keys()
    own = getattr(transformers, settings["architectures"][0])
    model, info = own.from_pretrained(output, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert model.dtype == torch.float32
    return model


@pytest.mark.parametrize("method", ["adamw", "lora"])
def test_every_tensor_comes_back_and_what_text_does_not_reach_bit_for_bit(
    published: Path, trained: Callable[..., Path], method: str
) -> None:
    output = trained(published, method={"name": method})
    before, after = tensors_of(published), tensors_of(output)
    assert after.keys() == before.keys()
    moved = 0.0
    for name, tensor in before.items():
        if not is_text(published, name):
            assert after[name].dtype == torch.bfloat16
            assert torch.equal(after[name], tensor), name
        else:
            assert after[name].dtype == torch.float32
            moved += (after[name].double() - tensor.double()).square().sum().item()
    carried = sum(not is_text(published, name) for name in before)
    assert carried > 5
    summary = summary_of(output)
    assert summary["tensors_carried"] == carried
    assert summary["displacement"] == pytest.approx(math.sqrt(moved), rel=1e-5)
    assert summary["displacement_pretrained"] == summary["displacement"] > 0
    assert_loads_by_its_own_class(output, published)
    manifest_check(output)


def test_it_is_blended_and_taught_again(
    published: Path, trained: Callable[..., Path], tmp_path: Path
) -> None:
    first = trained(published)
    job = tmp_path / "blend"
    job.mkdir()
    recipe = {"parent": str(published), "candidate": str(first), "alpha": 0.25}
    (job / "config.json").write_text(json.dumps(recipe))
    assert blend_main([str(job)]) == DONE
    blend = job / "attempts/0/output"
    before, after, between = tensors_of(published), tensors_of(first), tensors_of(blend)
    for name, tensor in between.items():
        if is_text(published, name):
            wanted = 0.75 * before[name].float() + 0.25 * after[name].float()
            torch.testing.assert_close(tensor, wanted)
        else:
            assert torch.equal(tensor, before[name]), name
    assert_loads_by_its_own_class(blend, published)
    second = trained(blend)
    summary = summary_of(second)
    assert 0 < summary["displacement"] < summary["displacement_pretrained"]
    for name, tensor in tensors_of(second).items():
        assert is_text(published, name) or torch.equal(tensor, before[name]), name
    assert_loads_by_its_own_class(second, published)


def test_the_checkpoint_computes_what_was_trained(
    published: Path, trained: Callable[..., Path]
) -> None:
    """Its own class, with vision, gives another answer than before, and a finite one."""
    output = trained(published, learning_rate=1e-2)
    ids = torch.arange(40).unsqueeze(0)
    logits = []
    for directory in (published, output):
        own = getattr(
            transformers, json.loads((directory / "config.json").read_bytes())["architectures"][0]
        )
        model = own.from_pretrained(directory, dtype=torch.float32).eval()
        text = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        with torch.no_grad():
            logits.append(model(input_ids=ids).logits)
            torch.testing.assert_close(text.eval()(input_ids=ids).logits, logits[-1])
    assert logits[1].isfinite().all()
    assert not torch.allclose(logits[0], logits[1], atol=1e-2)
