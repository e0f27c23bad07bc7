"""A model read part by part is the one that transformers loads."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.published import published_write
from tests.training.tensors.test_families import ALL
from training.models import causal_model
from training.tensors.checking import model_without_weights
from training.tensors.mapping import TensorMap
from training.tensors.reading import parts_make, weights_read


def read_in_parts(directory: Path, dtype: torch.dtype) -> Any:
    model = model_without_weights(directory, dtype)
    tensors = TensorMap.of(model, directory)
    assert all(parameter.is_meta for parameter in model.parameters())
    parts_make(model, "cpu")
    for parameter in model.parameters():
        parameter.data.fill_(torch.nan)
    weights_read(model, directory, tensors)
    return model


def assert_same(ours: Any, theirs: Any) -> None:
    assert type(ours) is type(theirs)
    for kind in ("named_parameters", "named_buffers"):
        mine = dict(getattr(ours, kind)(remove_duplicate=False))
        others = dict(getattr(theirs, kind)(remove_duplicate=False))
        assert mine.keys() == others.keys()
        for name, other in others.items():
            assert mine[name].dtype == other.dtype, name
            assert torch.equal(mine[name], other), name
            assert mine[name].requires_grad == other.requires_grad, name
    tied = [len({id(one) for one in model.parameters()}) for model in (ours, theirs)]
    assert tied[0] == tied[1]
    assert ours.config._attn_implementation == theirs.config._attn_implementation


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_model_is_the_one_that_transformers_loads(
    tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    directory = published_write(name, tmp_path / "model")
    assert_same(read_in_parts(directory, dtype), causal_model(directory, dtype))
