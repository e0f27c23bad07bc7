"""Which model directories are refused before anything is loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.modelcheck import model_directory_problems, parameter_count, tensor_shapes


@pytest.fixture
def model(tmp_path: Path, tiny_model_directory: Path) -> Path:
    return Path(shutil.copytree(tiny_model_directory, tmp_path / "model"))


def test_a_plain_directory_is_fine(tiny_model_directory: Path) -> None:
    assert model_directory_problems(tiny_model_directory) == []


def test_shapes_are_read_from_the_headers(tiny_model_directory: Path) -> None:
    from transformers import AutoModelForCausalLM

    shapes = tensor_shapes(tiny_model_directory)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_directory)
    assert shapes == {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert parameter_count(shapes) == model.num_parameters()


def _bert(directory: Path) -> None:
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM"]}
    (directory / "config.json").write_text(json.dumps(config))


def _cut(directory: Path) -> None:
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _index(directory: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def _escape(directory: Path) -> None:
    index = {"weight_map": {"a": "../model/model.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda d: (d / "pytorch_model.bin").write_bytes(b"\x80"), "pytorch_model.bin"),
        (lambda d: (d / "weights.PT").write_bytes(b"\x80"), "weights.PT"),
        (_bert, "config.json"),
        (lambda d: (d / "adapter_config.json").write_text("{}"), "adapter_config.json"),
        (lambda d: (d / "tokenizer.json").unlink(), "tokenizer.json"),
        (lambda d: (d / "tokenizer.json").write_text("[1]"), "tokenizer.json"),
        (lambda d: (d / "config.json").unlink(), "config.json"),
        (lambda d: (d / "config.json").write_text("[" * 100_000), "config.json"),
        (lambda d: (d / "model.safetensors").unlink(), "weights"),
        (lambda d: (d / "model.safetensors").write_bytes(b"not it at all"), "weights"),
        (_cut, "weights"),
        (_index, "weights"),
        (_escape, "weights"),
    ],
)
def test_what_is_wrong_is_named(model: Path, spoil: Callable[[Path], object], where: str) -> None:
    spoil(model)
    (problem,) = model_directory_problems(model)
    assert problem.where == where
    assert problem.cure.endswith(".")


def test_a_missing_directory_is_a_problem(tmp_path: Path) -> None:
    (problem,) = model_directory_problems(tmp_path / "nowhere")
    assert "does not exist" in problem.message
