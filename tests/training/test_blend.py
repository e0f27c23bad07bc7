"""Blends: every weight computed by hand, in every way in which models are stored; refusals."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.checks import ConfigError
from engine.manifest import manifest_check
from tests.event_log import logged_events
from tests.tiny_model import tiny_model_write
from training.blend import weights
from training.blend.__main__ import main
from training.config.blend import BlendConfig, example_config

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parent and a candidate of the same shapes and other weights."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("parent", "candidate")):
        tiny_model_write(folder / name, seed=seed)
    return folder


@pytest.fixture
def own(models: Path, tmp_path: Path) -> Path:
    """Both models to change at will."""
    for name in ("parent", "candidate"):
        shutil.copytree(models / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def blend(tmp_path: Path) -> Callable[..., Path]:
    """`blend(folder, alpha, **config)`: the output directory; an exit code other than 0 fails."""

    def make(folder: Path, alpha: float, **config: Any) -> Path:
        directory = job(tmp_path, folder, alpha, **config)
        assert main([str(directory)]) == 0, last_event(directory)
        return directory / "attempts" / "0" / "output"

    return make


def job(tmp_path: Path, folder: Path, alpha: Any, **config: Any) -> Path:
    directory = tmp_path / f"job{len(list(tmp_path.glob('job*')))}"
    directory.mkdir()
    recipe = {
        "parent": str(folder / "parent"),
        "candidate": str(folder / "candidate"),
        "alpha": alpha,
        **config,
    }
    (directory / "config.json").write_text(json.dumps(recipe))
    return directory


def last_event(directory: Path) -> dict[str, Any]:
    return logged_events(directory / "attempts" / "0" / "events.jsonl")[-1]


def tensors_of(directory: Path) -> Tensors:
    return {
        name: tensor
        for file in sorted(directory.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def tensors_change(directory: Path, change: Callable[[Tensors], Any]) -> None:
    """Rewrite a model's weights after `change`, which may return a dictionary of new ones."""
    tensors = load_file(directory / "model.safetensors")
    changed = change(tensors)
    tensors = changed if isinstance(changed, dict) else tensors
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})


def test_half_way_is_the_mean(models: Path, blend: Any) -> None:
    output = tensors_of(blend(models, 0.5))
    before, after = (tensors_of(models / name) for name in ("parent", "candidate"))
    assert output.keys() == before.keys()
    for name, tensor in output.items():
        mean = (before[name].double().numpy() + after[name].double().numpy()) / 2
        np.testing.assert_array_equal(tensor.numpy(), mean.astype(np.float32))


def test_a_quarter_of_the_way_weighs_by_the_quarter(models: Path, blend: Any) -> None:
    output = tensors_of(blend(models, 0.25))
    before, after = (tensors_of(models / name) for name in ("parent", "candidate"))
    for name, tensor in output.items():
        exact = 0.75 * before[name].double().numpy() + 0.25 * after[name].double().numpy()
        np.testing.assert_allclose(tensor.numpy(), exact, rtol=2e-7, atol=1e-9)


def test_sixteen_bits_are_summed_in_float32_and_rounded_once(own: Path, blend: Any) -> None:
    for name in ("parent", "candidate"):
        tensors_change(own / name, lambda tensors: {n: t.bfloat16() for n, t in tensors.items()})
    output = tensors_of(blend(own, 0.3))
    before, after = (tensors_of(own / name) for name in ("parent", "candidate"))
    twice = 0
    for name, tensor in output.items():
        assert tensor.dtype == torch.bfloat16
        exact = 0.7 * before[name].float() + 0.3 * after[name].float()
        assert torch.equal(tensor, exact.bfloat16())
        rounded = (0.7 * before[name]).bfloat16() + (0.3 * after[name]).bfloat16()
        twice += int((rounded != tensor).sum())
    assert twice > 0  # summing in bfloat16 would have been seen


def test_the_wider_format_of_the_two_is_kept(own: Path, blend: Any) -> None:
    tensors_change(own / "candidate", lambda tensors: {n: t.bfloat16() for n, t in tensors.items()})
    output = blend(own, 0.5)
    assert {tensor.dtype for tensor in tensors_of(output).values()} == {torch.float32}
    assert json.loads((output / "config.json").read_text())["dtype"] == "float32"


def test_a_tied_copy_that_one_side_stores_is_left_out(own: Path, blend: Any) -> None:
    def copy(tensors: Tensors) -> None:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    tensors_change(own / "parent", copy)
    output = tensors_of(blend(own, 0.5))
    assert "lm_head.weight" not in output
    tensors_change(own / "candidate", copy)
    both = tensors_of(blend(own, 0.5))
    assert torch.equal(both["lm_head.weight"], both["model.embed_tokens.weight"])


def test_sharded_models_keep_their_shards_and_load(
    own: Path, blend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    whole = tensors_of(blend(own, 0.5))
    model = AutoModelForCausalLM.from_pretrained(own / "candidate")
    (own / "candidate" / "model.safetensors").unlink()
    model.save_pretrained(own / "candidate", max_shard_size="40KB")
    shards = {file.name for file in (own / "candidate").glob("*.safetensors")}
    assert len(shards) > 1
    monkeypatch.setattr(weights, "CHUNK_NUMBERS", 1000)  # no multiple of any tensor's size
    output = blend(own, 0.5)
    assert {file.name for file in output.glob("*.safetensors")} == shards
    index = json.loads((output / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in whole.values())
    loaded = AutoModelForCausalLM.from_pretrained(output).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in whole.items())


def test_the_output_is_a_complete_checkpoint(models: Path, blend: Any) -> None:
    output = blend(models, 0.5, anchor_model=str(models / "parent"))
    manifest_check(output)
    assert (output / "tokenizer.json").read_bytes() == (
        models / "candidate" / "tokenizer.json"
    ).read_bytes()
    card = (output / "README.md").read_text()
    assert "Blend of parent and candidate" in card and "0.5" in card
    assert json.loads((output / "recipe.json").read_text())["blend"]["alpha"] == 0.5


def test_the_same_recipe_gives_the_same_bytes(models: Path, blend: Any) -> None:
    first, second = (manifest_check(blend(models, 0.5)) for _ in range(2))
    assert first == second


def test_distances_are_those_of_what_was_stored(models: Path, blend: Any, tmp_path: Path) -> None:
    tiny_model_write(tmp_path / "anchor", seed=7)
    output = blend(models, 0.25, anchor_model=str(tmp_path / "anchor"))
    stored = tensors_of(output)
    record = json.loads((output / "displacement.json").read_text())
    for key, reference in (("parent", models / "parent"), ("pretrained", tmp_path / "anchor")):
        others = tensors_of(reference)
        squares = [(stored[n].double() - others[n].double()).square().sum() for n in stored]
        length = float(sum(squares)) ** 0.5
        assert record[key]["norm"] == pytest.approx(length, rel=1e-9)
        size = float(sum(others[n].double().square().sum() for n in stored)) ** 0.5
        assert record[key]["relative"] == pytest.approx(length / size, rel=1e-9)
        assert record[key]["tensors"].keys() == stored.keys()
    # A quarter of the way is a quarter of the distance.
    whole = [
        (tensors_of(models / "candidate")[n].double() - t.double()).square().sum()
        for n, t in tensors_of(models / "parent").items()
    ]
    assert record["parent"]["norm"] == pytest.approx(0.25 * float(sum(whole)) ** 0.5, rel=1e-6)


def test_a_parent_that_is_the_anchor_is_measured_once(models: Path, blend: Any) -> None:
    output = blend(models, 0.5, anchor_model=str(models / "parent"))
    record = json.loads((output / "displacement.json").read_text())
    assert record["parent"] == record["pretrained"] and record["parent"]["norm"] > 0


def _config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "candidate" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _weights(change: Callable[[Tensors], Any]) -> Callable[[Path], None]:
    return lambda folder: tensors_change(folder / "candidate", change)


def _tokenizer(folder: Path) -> None:
    path = folder / "candidate" / "tokenizer.json"
    record = json.loads(path.read_text())
    record["added_tokens"].pop()
    path.write_text(json.dumps(record))


def _untied_head(folder: Path) -> None:
    tensors_change(
        folder / "parent",
        lambda tensors: tensors.update({"lm_head.weight": torch.ones(260, 32)}),
    )


NORM = "model.norm.weight"


@pytest.mark.parametrize(
    ("spoil", "where", "words"),
    [
        (
            _weights(lambda t: t.update({NORM: torch.ones(31)})),
            "candidate",
            f"{NORM} has the shape",
        ),
        (_weights(lambda t: t.pop(NORM)), "parent", f"{NORM}, which the candidate lacks"),
        (_weights(lambda t: t[NORM].fill_(float("nan"))), "candidate", "not finite"),
        (
            _weights(lambda t: t.update({NORM: torch.ones(32, dtype=torch.int32)})),
            "candidate",
            "stored as I32",
        ),
        (_untied_head, "parent", "lm_head.weight, which the candidate lacks"),
        (_tokenizer, "candidate", "its added_tokens is not the parent's"),
        (_config(num_attention_heads=8), "candidate", "num_attention_heads is not the parent's"),
        (
            lambda folder: (folder / "candidate" / "weights.bin").touch(),
            "candidate",
            "pickle file",
        ),
        (lambda folder: shutil.rmtree(folder / "parent"), "parent", "does not exist"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    own: Path, tmp_path: Path, spoil: Callable[[Path], Any], where: str, words: str
) -> None:
    spoil(own)
    directory = job(tmp_path, own, 0.5)
    assert main([str(directory)]) == 2
    event = last_event(directory)
    assert event["event"] == "error" and event["where"] == where
    assert words in event["message"] and event["cure"]
    assert not (directory / "attempts" / "0" / "output").exists()


def test_a_config_that_spells_out_defaults_is_the_same(own: Path, blend: Any) -> None:
    _config(a_new_default=True, transformers_version="9", use_cache=False)(own)
    assert blend(own, 0.5).is_dir()


@pytest.mark.parametrize("alpha", [0, 1, -0.5, 1.5, "half", None, True, float("nan")])
def test_alpha_lies_between_the_ends(alpha: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        BlendConfig(parent="a", candidate="b", alpha=alpha)
    assert refused.value.where == "alpha"


def test_the_example_config_is_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--example-config"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert BlendConfig.from_json(record).to_json() == example_config()
    with pytest.raises(ConfigError, match="weight"):
        BlendConfig.from_json(record | {"weight": 1})


@pytest.mark.slow
def test_sigterm_stops_it_without_an_output(own: Path, tmp_path: Path) -> None:
    for name in ("parent", "candidate"):
        # 1 GB of zeros that take no room on disk: far more than is blended before the signal.
        file = own / name / "model.safetensors"
        shape, size_bytes = [1 << 18, 1 << 10], 1 << 30
        entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, size_bytes]}
        header = json.dumps({"model.embed_tokens.weight": entry}).encode()
        with file.open("wb") as out:
            out.write(len(header).to_bytes(8, "little") + header)
            out.truncate(8 + len(header) + size_bytes)
    directory = job(tmp_path, own, 0.5)
    engine = subprocess.Popen([sys.executable, "-m", "training.blend", str(directory)])
    events = directory / "attempts" / "0" / "events.jsonl"
    deadline = time.monotonic() + 60
    while not logged_events(events) and time.monotonic() < deadline:
        time.sleep(0.01)
    engine.send_signal(signal.SIGTERM)
    assert engine.wait(timeout=30) == 143
    assert not (directory / "attempts" / "0" / "output").exists()
    assert all(event["event"] == "progress" for event in logged_events(events))
