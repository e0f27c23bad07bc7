"""The map of names, for many architectures: what is written is what the model holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from engine.tensorfiles import tensor_shapes
from tests.training.published import CONDITIONAL, published_write
from tests.training.shapes import HYBRID, PLAIN, WINDOWED
from training.config import MethodConfig
from training.measures.displacement import Reference
from training.methods.lora import METHOD as LORA
from training.models import causal_model
from training.tensors.checking import checkpoint_check, fit_of
from training.tensors.mapping import TensorMap
from training.tensors.writing import config_write, weights_write

ALL = (*PLAIN, *WINDOWED, *HYBRID, *CONDITIONAL)
IDS = torch.arange(3, 43).unsqueeze(0)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`family(name)`: the directory of a model of this shape, written once."""
    folder = tmp_path_factory.mktemp("families")

    def write(name: str) -> Path:
        directory = folder / name
        return directory if directory.is_dir() else published_write(name, directory)

    return write


def shaken(model: Any) -> Any:
    """The model with all that is taught moved a little."""
    torch.manual_seed(0)
    with torch.no_grad():
        for one in model.parameters():
            if one.requires_grad:
                one.add_(0.05 * torch.randn_like(one))
    return model


def written(model: Any, parent: Path, directory: Path, tensors: TensorMap) -> Path:
    directory.mkdir()
    weights_write(directory, parent, model, tensors)
    config_write(directory, parent, "float32")
    return directory


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model.eval()(input_ids=IDS).logits
    return result


@pytest.mark.parametrize("name", ALL)
def test_a_checkpoint_holds_the_models_numbers_under_the_files_own_names(
    name: str, family: Callable[[str], Path], tmp_path: Path
) -> None:
    parent = family(name)
    model = causal_model(parent, torch.float32)
    tensors = TensorMap.of(model, parent)
    reference = Reference(parent, tensors)
    assert reference.missing(model) is None
    assert reference.measure(model).norm == 0.0
    before = {n: one.detach().clone() for n, one in model.named_parameters()}
    shaken(model)
    output = written(model, parent, tmp_path / "output", tensors)
    assert tensor_shapes(output) == tensor_shapes(parent)
    again = causal_model(output, torch.float32)
    held = dict(again.named_parameters())
    for n, one in model.named_parameters():
        assert torch.equal(held[n], one), n
    moved = sum((held[n] - one).double().square().sum().item() for n, one in before.items())
    assert reference.measure(model).norm == pytest.approx(moved**0.5, rel=1e-5)
    stored = load_file(parent / "model.safetensors"), load_file(output / "model.safetensors")
    for n in tensors.carried:
        assert torch.equal(*(one[n] for one in stored)), n
    fit = checkpoint_check(output, parent)
    assert (fit.missing, fit.unexpected) == ((), ())
    assert fit.class_name == transformers.AutoConfig.from_pretrained(parent).architectures[0]


@pytest.mark.parametrize("name", ALL)
def test_a_merged_adapter_computes_what_the_adapted_model_does(
    name: str, family: Callable[[str], Path], tmp_path: Path
) -> None:
    parent = family(name)
    model = causal_model(parent, torch.float32)
    tensors = TensorMap.of(model, parent)
    before = logits(model)
    adapted = LORA.attach(model, MethodConfig(name="lora", rank=2))
    learns = [n for n, one in adapted.named_parameters() if one.requires_grad]
    assert not any("visual" in n or "vision" in n for n in learns)
    adapted = shaken(adapted)
    output = written(adapted, parent, tmp_path / "output", tensors)
    ours, theirs = logits(adapted), logits(causal_model(output, torch.float32))
    assert (ours - before).norm() > 0.01 * before.norm()
    torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-3)
    assert fit_of(output).missing == ()
