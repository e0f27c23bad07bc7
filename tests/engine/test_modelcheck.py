"""Which model directories are refused before anything is loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.modelcheck import (
    gguf_file,
    model_directory_problems,
    parameter_count,
    tensor_shapes,
)


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


def _auto_map(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x"}}))


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
        (lambda d: (d / "modeling_x.py").write_text("print()"), "modeling_x.py"),
        (_auto_map, "config.json"),
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


def test_a_gguf_can_be_measured_and_not_trained(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "model-Q8_0.gguf").write_bytes(b"GGUF")
    assert gguf_file(model) == model / "model-Q8_0.gguf"
    assert model_directory_problems(model, gguf=True) == []
    assert [one.where for one in model_directory_problems(model)] == ["weights"]
    (model / "other.gguf").write_bytes(b"GGUF")  # which of the two is meant?
    assert gguf_file(model) is None
    assert [one.where for one in model_directory_problems(model, gguf=True)] == ["weights"]


def test_safetensors_go_before_a_gguf(model: Path) -> None:
    (model / "model-Q8_0.gguf").write_bytes(b"GGUF")
    assert gguf_file(model) is None
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    (model / "model.safetensors.index.json").write_text("{}")
    assert gguf_file(model) is None
