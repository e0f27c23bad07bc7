"""How far weights have moved, against a sum by hand."""

from pathlib import Path

import pytest
import torch

from training.measures.displacement import Reference
from training.tensors.mapping import TensorMap


@pytest.mark.parametrize("piece_numbers", [7, 1 << 20])
def test_the_distance_is_that_of_all_numbers_however_they_are_read(
    tiny_model_directory: Path, monkeypatch: pytest.MonkeyPatch, piece_numbers: int
) -> None:
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr("training.measures.displacement._PIECE_NUMBERS", piece_numbers)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_directory)
    reference = Reference(tiny_model_directory, TensorMap.of(model, tiny_model_directory))
    before = {name: one.detach().double().clone() for name, one in model.named_parameters()}
    torch.manual_seed(0)
    with torch.no_grad():
        for one in model.parameters():
            one.add_(0.01 * torch.randn_like(one))
    result = reference.measure(model)
    moved = 0.0
    for name, one in model.named_parameters():
        distance = (one.detach().double() - before[name]).norm().item()
        assert result.tensors[name].norm == pytest.approx(distance, rel=1e-5)
        assert result.tensors[name].reference_norm == pytest.approx(before[name].norm().item())
        assert torch.equal(reference.read(name).double(), before[name])
        moved += distance**2
    assert result.norm == pytest.approx(moved**0.5, rel=1e-5)
