"""Models that come in: what is found out about them, and what a hub gives."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.checks import ConfigError
from engine.manifest import manifest_check
from engine.process import BAD_INPUT, DONE, FAILED
from engine.tensorfiles import INDEX_NAME, tensor_shapes
from tests.training.intake.hub_server import COMMIT, HUB_ID, LATER_COMMIT, Hub, hub_running
from tests.training.published import published_write
from tests.training.toys import events_of
from training.config.intake import IntakeConfig
from training.intake.__main__ import main


def intake(directory: Path, config: dict[str, Any]) -> int:
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    return main([str(directory)])


def test_a_published_model_is_told_apart(tmp_path: Path) -> None:
    model = published_write("qwen3_5_published", tmp_path / "model")
    assert intake(tmp_path / "job", {"model": str(model)}) == DONE
    summary = events_of(tmp_path / "job")[-1]["summary"]
    assert summary["class_name"] == "Qwen3_5ForConditionalGeneration"
    assert summary["taught_class"] == "Qwen3_5ForCausalLM"
    assert summary["carried_names"] == ["model.visual", "mtp.fc", "mtp.layers", "mtp.norm"]
    assert summary["tensors_carried"] == 24 < summary["tensors"]
    assert summary["unknown_names"] == []
    written = (tmp_path / "job/attempts/0/output/findings.json").read_bytes()
    assert json.loads(written) == summary


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {n: x for n, x in t.items() if "1.mlp.up" not in n}, "layers.1.mlp.up_proj"),
        (lambda t: t | {"model.norm.weight": torch.zeros(7)}, "needs model.norm.weight, which"),
        (lambda t: {"w": torch.zeros(2)}, "and 20 more"),
    ],
)
def test_what_its_class_needs_and_is_not_there_is_named(
    tmp_path: Path, change: Callable[[Any], Any], words: str
) -> None:
    model = published_write("llama", tmp_path / "model")
    path = model / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})
    assert intake(tmp_path / "job", {"model": str(model)}) == BAD_INPUT
    assert words in events_of(tmp_path / "job")[-1]["message"]


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({}, "model"),
        ({"model": "x", "hub_id": "a/b"}, "model"),
        ({"hub_id": "a"}, "hub_id"),
        ({"hub_id": "../b"}, "hub_id"),
        ({"hub_id": "a/b/c"}, "hub_id"),
        ({"hub_id": "a/" + "b" * 200}, "hub_id"),
        ({"hub_id": "a/b", "revision": "x y"}, "revision"),
        ({"model": "x", "colour": 1}, "colour"),
    ],
)
def test_a_wrong_config_names_its_field(config: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as refused:
        IntakeConfig.from_json(config)
    assert refused.value.where == where


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with a model, and with files beside it that nobody should fetch."""
    directory = published_write("llama", tmp_path / "hub")
    for name in ("pytorch_model.bin", "modeling_ours.py", "onnx/model.safetensors", "x.gguf"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(b"not for us")
    with hub_running(directory) as running:
        yield running


def start(hub: Hub, directory: Path, attempt: int = 0, **config: Any) -> subprocess.Popen[bytes]:
    """Start the engine as the portal does, in a process of its own."""
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps({"hub_id": HUB_ID, **config}))
    environment = {n: v for n, v in os.environ.items() if not n.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_DOWNLOAD_TIMEOUT": "60"}
    environment |= {"HF_HOME": str(directory / "home")}
    command = [sys.executable, "-m", "training.intake", str(directory), "--attempt", str(attempt)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def fetch(hub: Hub, directory: Path, attempt: int = 0, **config: Any) -> int:
    """Run the engine to its end; its exit code."""
    child = start(hub, directory, attempt, **config)
    _, said = child.communicate(timeout=120)
    assert b"Traceback" not in said, said.decode()
    return child.returncode


def test_one_commit_of_a_model_comes_and_nothing_that_is_not_needed(
    hub: Hub, tmp_path: Path
) -> None:
    directory = tmp_path / "job"
    assert fetch(hub, directory) == DONE
    output = directory / "attempts/0/output"
    names = {path.name for path in output.iterdir()}
    assert names == {
        *("config.json", "generation_config.json", "manifest.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    assert (output / "model.safetensors").read_bytes() == (
        hub.directory / "model.safetensors"
    ).read_bytes()
    summary = events_of(directory)[-1]["summary"]
    assert summary["commit"] == COMMIT and summary["licence"] == "apache-2.0"
    assert summary["class_name"] == "LlamaForCausalLM"
    assert summary["manifest_sha256"] == manifest_check(output)["sha256"]
    assert not (directory / "files").exists()
    assert all(f"/resolve/{COMMIT}/" in path for _, path, _ in hub.asked if "resolve" in path)
    said = [e for e in events_of(directory) if e["event"] == "progress"]
    assert [e["done"] for e in said if e["phase"] == "fetching"][-1] > 0


def test_weights_in_parts_come_by_their_index(hub: Hub, tmp_path: Path) -> None:
    whole = hub.directory / "model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    index = {}
    for number, name in enumerate(tensors):
        index[name] = f"model-{number % 2}.safetensors"
    for file in set(index.values()):
        part = {name: tensors[name] for name in tensors if index[name] == file}
        save_file(part, hub.directory / file, {"format": "pt"})
    save_file({"w": torch.zeros(9)}, hub.directory / "consolidated.safetensors")
    (hub.directory / INDEX_NAME).write_text(json.dumps({"weight_map": index}))
    assert fetch(hub, tmp_path / "job") == DONE
    output = tmp_path / "job/attempts/0/output"
    assert {path.name for path in output.glob("*.safetensors")} == set(index.values())
    assert tensor_shapes(output) == {name: tuple(one.shape) for name, one in tensors.items()}
    manifest_check(output)


@pytest.mark.slow
def test_a_fetch_that_was_killed_goes_on_where_it_was_at_the_same_commit(
    hub: Hub, tmp_path: Path
) -> None:
    """The hub has another commit by then; the first one that was seen is fetched."""
    path = hub.directory / "model.safetensors"
    large = load_file(path) | {"value_head.weight": torch.zeros(7_000_000)}
    save_file(large, path, {"format": "pt"})
    directory = tmp_path / "job"
    hub.stall_after_bytes = 24_000_000
    child = start(hub, directory)
    assert hub.stalled.wait(60)
    child.kill()
    child.wait()
    hub.commit = LATER_COMMIT
    assert fetch(hub, directory, attempt=1) == DONE
    first, second = hub.weights_ranges()
    assert first == "" and int(second.removeprefix("bytes=").removesuffix("-")) >= 10_000_000
    summary = events_of(directory, 1)[-1]["summary"]
    assert summary["commit"] == COMMIT and summary["unknown_names"] == ["value_head.weight"]
    assert (directory / "attempts/1/output/model.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", '{"model_type": "t5"}', "no language model that continues text"),
        ("tokenizer.json", "[]", "tokenizer.json is not a JSON object"),
        ("model.safetensors.index.json", "[1]", "has no weight_map"),
        ("model.safetensors.index.json", '{"weight_map": {"a": ["b"]}}', "no safetensors weights"),
    ],
)
def test_what_cannot_be_taught_is_told_before_its_weights_come(
    hub: Hub, tmp_path: Path, name: str, content: str, words: str
) -> None:
    (hub.directory / name).write_text(content)
    assert fetch(hub, tmp_path / "job") == BAD_INPUT
    assert words in events_of(tmp_path / "job")[-1]["message"]
    assert hub.weights_ranges() == []


def test_a_model_that_does_not_fit_the_disk_is_not_begun(hub: Hub, tmp_path: Path) -> None:
    hub.sizes["model.safetensors"] = 1 << 60
    assert fetch(hub, tmp_path / "job") == FAILED
    assert "the disk has room for" in events_of(tmp_path / "job")[-1]["message"]
    assert hub.weights_ranges() == []


@pytest.mark.slow
def test_what_the_hub_does_not_give_is_told(hub: Hub, tmp_path: Path) -> None:
    def told(exit_code: int, **config: Any) -> str:
        directory = tmp_path / f"job{len(list(tmp_path.glob('job*')))}"
        assert fetch(hub, directory, **config) == exit_code
        return str(events_of(directory)[-1]["message"])

    assert "has no revision v9" in told(BAD_INPUT, revision="v9")
    assert "no model ships/gone" in told(BAD_INPUT, hub_id="ships/gone")
    (hub.directory / "model.safetensors").rename(hub.directory / "weights.bin")
    assert "has no safetensors weights" in told(BAD_INPUT)
    hub.gated = True
    assert "accepted its terms" in told(BAD_INPUT)
    hub.shutdown()
    hub.server_close()
    assert "could not be reached" in told(FAILED)
