"""Which model directories are refused before anything is loaded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.modelcheck import gguf_file, model_directory_problems
from engine.tensorfiles import parameter_count, tensor_shapes


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


def _two_parts_twice(directory: Path) -> None:
    weights = directory / "model.safetensors"
    name = next(iter(tensor_shapes(directory)))
    for number in (1, 2):
        shutil.copyfile(weights, directory / f"model-{number}.safetensors")
    index = {"weight_map": {name: "model-1.safetensors", "b": "model-2.safetensors"}}
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
        (lambda d: (d / "model.safetensors").unlink(), "model.safetensors"),
        (lambda d: (d / "model.safetensors").write_bytes(b"not it at all"), "model.safetensors"),
        (_cut, "model.safetensors"),
        (_index, "model-00001-of-00002.safetensors"),
        (_escape, "model.safetensors.index.json"),
        (_two_parts_twice, "model-2.safetensors"),
    ],
)
def test_what_is_wrong_is_named(model: Path, spoil: Callable[[Path], object], where: str) -> None:
    spoil(model)
    (problem,) = model_directory_problems(model)
    assert problem.where == where
    assert problem.cure.endswith(".")


def test_infinity_in_a_config_is_taken_as_transformers_writes_it(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config["time_step_limit"] = [0.0, float("inf")]
    (model / "config.json").write_text(json.dumps(config))
    assert model_directory_problems(model) == []


def test_parts_named_by_an_index_are_read(model: Path) -> None:
    from safetensors.numpy import load_file, save_file

    whole = tensor_shapes(model)
    tensors = load_file(model / "model.safetensors")
    parts: dict[str, dict[str, Any]] = {"a.safetensors": {}, "b.safetensors": {}}
    files = {}
    for number, (name, tensor) in enumerate(tensors.items()):
        file = list(parts)[number % 2]
        parts[file][name] = tensor
        files[name] = file
    for file, part in parts.items():
        save_file(part, model / file, metadata={"format": "pt"})
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert tensor_shapes(model) == whole
    assert model_directory_problems(model) == []


@pytest.mark.parametrize("dtype", sorted({"F4", "F6_E2M3", "BOOL", "BF16", "C64"}))
def test_every_kind_of_number_has_its_size(model: Path, dtype: str) -> None:
    bits = {"F4": 4, "F6_E2M3": 6, "BOOL": 8, "BF16": 16, "C64": 64}[dtype]
    entry = {"dtype": dtype, "shape": [2, 4], "data_offsets": [0, bits]}
    header = json.dumps({"a": entry, "none": {**entry, "shape": [0], "data_offsets": [0, 0]}})
    file = len(header).to_bytes(8, "little") + header.encode() + b"\0" * bits
    (model / "model.safetensors").write_bytes(file)
    assert tensor_shapes(model) == {"a": (2, 4), "none": (0,)}


def test_a_missing_directory_is_a_problem(tmp_path: Path) -> None:
    (problem,) = model_directory_problems(tmp_path / "nowhere")
    assert "does not exist" in problem.message


def test_a_gguf_can_be_measured_and_not_trained(model: Path) -> None:
    (model / "model.safetensors").unlink()
    (model / "model-Q8_0.gguf").write_bytes(b"GGUF")
    assert gguf_file(model) == model / "model-Q8_0.gguf"
    assert model_directory_problems(model, gguf=True) == []
    assert [one.where for one in model_directory_problems(model)] == ["model.safetensors"]
    (model / "other.gguf").write_bytes(b"GGUF")  # which of the two is meant?
    assert gguf_file(model) is None
    assert [one.where for one in model_directory_problems(model, gguf=True)] == [
        "model.safetensors"
    ]


def test_safetensors_go_before_a_gguf(model: Path) -> None:
    (model / "model-Q8_0.gguf").write_bytes(b"GGUF")
    assert gguf_file(model) is None
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    (model / "model.safetensors.index.json").write_text("{}")
    assert gguf_file(model) is None
