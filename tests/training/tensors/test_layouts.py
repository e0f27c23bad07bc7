"""Files that are not as the installed transformers would write them: they stay as they are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.attempt import EngineError
from engine.checks import ConfigError
from engine.tensorfiles import tensor_places, tensor_shapes
from tests.training.published import published_write
from tests.training.tensors.test_families import shaken, written
from training.measures.displacement import Reference
from training.models import causal_model
from training.tensors.checking import checkpoint_check, fit_of
from training.tensors.mapping import TensorMap

Tensors = dict[str, torch.Tensor]


def all_tensors(directory: Path) -> Tensors:
    files = sorted(directory.glob("*.safetensors"))
    return {name: one for file in files for name, one in load_file(file).items()}


def rewrite(directory: Path, change: Callable[[Tensors], Tensors]) -> None:
    path = directory / "model.safetensors"
    save_file(change(load_file(path)), path, {"format": "pt"})


def settings_change(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def taught_again(directory: Path, output: Path) -> tuple[Tensors, Tensors]:
    """The files' tensors before and after every taught weight was moved; both load alike."""
    model = causal_model(directory, torch.float32)
    tensors = TensorMap.of(model, directory)
    assert Reference(directory, tensors).measure(model).norm == 0.0
    shaken(model)
    written(model, directory, output, tensors)
    checkpoint_check(output, directory)
    again = dict(causal_model(output, torch.float32).named_parameters())
    assert all(torch.equal(again[name], one) for name, one in model.named_parameters())
    before, after = all_tensors(directory), all_tensors(output)
    assert before.keys() == after.keys()
    return before, after


def test_experts_that_lie_in_several_files_stay_there(tmp_path: Path) -> None:
    model = causal_model(published_write("qwen3_moe", tmp_path / "one"), torch.float32)
    directory = published_write("qwen3_moe", tmp_path / "model")
    (directory / "model.safetensors").unlink()
    model.save_pretrained(directory, max_shard_size="20KB")
    names = {path.name for path in directory.glob("*.safetensors")}
    assert len(names) > 3
    taught_again(directory, tmp_path / "output")
    places = tensor_places(directory), tensor_places(tmp_path / "output")
    for name, place in places[0].items():
        assert places[1][name].file.name == place.file.name


def test_experts_that_are_stored_as_one_tensor_stay_one(tmp_path: Path) -> None:
    directory = published_write("qwen3_moe", tmp_path / "model")
    rewrite(directory, lambda _: dict(causal_model(directory, torch.float32).state_dict()))
    _, after = taught_again(directory, tmp_path / "output")
    assert "model.layers.0.mlp.experts.gate_up_proj" in after


def test_gpt2_as_it_was_first_published_keeps_its_names_and_masks(tmp_path: Path) -> None:
    """Without the prefix of the class, and with the causal masks as tensors."""
    directory = published_write("gpt2", tmp_path / "model")
    mask = torch.ones(256, 256).tril().view(1, 1, 256, 256)
    rewrite(
        directory,
        lambda tensors: (
            {name.removeprefix("transformer."): one for name, one in tensors.items()}
            | {f"h.{layer}.attn.bias": mask.clone() for layer in range(2)}
        ),
    )
    before, after = taught_again(directory, tmp_path / "output")
    assert "wte.weight" in after and torch.equal(after["h.1.attn.bias"], mask)
    assert not torch.equal(after["h.1.attn.c_attn.weight"], before["h.1.attn.c_attn.weight"])


def test_a_tied_head_that_is_stored_too_is_written_as_the_embedding_is(tmp_path: Path) -> None:
    directory = published_write("llama", tmp_path / "model")
    settings_change(directory, tie_word_embeddings=True)
    name = "model.embed_tokens.weight"
    rewrite(directory, lambda tensors: tensors | {"lm_head.weight": tensors[name].clone()})
    before, after = taught_again(directory, tmp_path / "output")
    assert not torch.equal(after[name], before[name])
    assert torch.equal(after["lm_head.weight"], after[name])


def test_a_tied_head_that_is_not_stored_is_not_written(tmp_path: Path) -> None:
    directory = published_write("llama", tmp_path / "model")
    settings_change(directory, tie_word_embeddings=True)
    rewrite(directory, lambda tensors: {n: t for n, t in tensors.items() if n != "lm_head.weight"})
    taught_again(directory, tmp_path / "output")
    assert fit_of(tmp_path / "output").missing == ()


def test_gemma3_under_its_newer_names_keeps_those(tmp_path: Path) -> None:
    directory = published_write("gemma3_published", tmp_path / "model")

    def newer(name: str) -> str:
        if name.startswith("language_model.model."):
            return name.replace("language_model.model.", "model.language_model.", 1)
        return name if name.startswith("lm_head") else f"model.{name}"

    rewrite(directory, lambda tensors: {newer(name): one for name, one in tensors.items()})
    _, after = taught_again(directory, tmp_path / "output")
    assert "model.language_model.layers.0.self_attn.q_proj.weight" in after


def test_tensors_that_no_class_knows_are_kept(tmp_path: Path) -> None:
    directory = published_write("llama", tmp_path / "model")
    extra = {"value_head.weight": torch.randn(1, 32), "steps": torch.tensor([3, 4])}
    rewrite(directory, lambda tensors: tensors | extra)
    _, after = taught_again(directory, tmp_path / "output")
    assert all(torch.equal(after[name], one) for name, one in extra.items())
    assert fit_of(directory).unexpected == ("steps", "value_head.weight")


def test_a_weight_that_could_not_be_written_back_is_refused_by_name(tmp_path: Path) -> None:
    """As where the loaded model was given a layer that its files do not have."""
    directory = published_write("llama", tmp_path / "model")
    model = causal_model(directory, torch.float32)
    rewrite(directory, lambda t: {n: one for n, one in t.items() if "layers.1.mlp.up" not in n})
    with pytest.raises(
        ConfigError, match=r"no tensor of its files holds model\.layers\.1\.mlp\.up"
    ):
        TensorMap.of(model, directory)
    rewrite(directory, lambda t: t | {"model.layers.1.mlp.up_proj.weight": torch.zeros(3, 3)})
    with pytest.raises(ConfigError, match=r"layers\.1\.mlp\.up_proj\.weight cannot be written"):
        TensorMap.of(model, directory)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {n: x for n, x in t.items() if n != "model.norm.weight"}, "lacks model.norm"),
        (lambda t: t | {"model.norm.weight": torch.zeros(7)}, "lacks model.norm.weight"),
        (lambda t: t | {"model.other.weight": torch.zeros(7)}, "has model.other.weight"),
    ],
)
def test_a_checkpoint_that_does_not_load_as_its_parent_is_refused(
    tmp_path: Path, change: Callable[[Tensors], Tensors], words: str
) -> None:
    parent = published_write("llama", tmp_path / "parent")
    output = published_write("llama", tmp_path / "output")
    checkpoint_check(output, parent)
    rewrite(output, change)
    with pytest.raises(EngineError, match=words):
        checkpoint_check(output, parent)


def test_a_checkpoint_of_another_class_is_refused(tmp_path: Path) -> None:
    parent = published_write("gemma3_published", tmp_path / "parent")
    output = published_write("gemma3", tmp_path / "output")
    with pytest.raises(EngineError, match="is a Gemma3ForCausalLM, and its parent a Gemma3ForCond"):
        checkpoint_check(output, parent)
    settings_change(output, architectures=["NoSuchModel"])
    with pytest.raises(EngineError, match="has no class NoSuchModel"):
        checkpoint_check(output, parent)


def test_a_check_reads_no_weights_and_takes_no_memory(tmp_path: Path) -> None:
    """The weights' bytes may be gone: names and shapes are all that is looked at."""
    directory = published_write("llama", tmp_path / "model")
    path = directory / "model.safetensors"
    shapes = tensor_shapes(directory)
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    with path.open("wb") as file:
        file.write(content[:header])
        file.truncate(len(content))  # a hole where the numbers were
    assert path.stat().st_blocks * 512 < len(content)
    assert fit_of(directory).missing == () and tensor_shapes(directory) == shapes


def test_a_weight_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    directory = published_write("llama", tmp_path / "model")
    rewrite(directory, lambda tensors: tensors | {"model.norm.weight": torch.zeros(7)})
    with pytest.raises(ConfigError, match=r"lacks the weight model\.norm\.weight, or has it in an"):
        causal_model(directory, torch.float32)
