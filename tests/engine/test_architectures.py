"""Which classes of models can be taught, told without transformers; and that this is up to date."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import model_types
from engine import modeltypes
from engine.architectures import architecture_objection, code_words
from engine.modelcheck import model_directory_problems
from tests.training.published import CONDITIONAL, published_write
from tests.training.shapes import HYBRID, PLAIN, WINDOWED

AUTO_MAP = {"AutoModelForCausalLM": "modeling_ours.OurModel"}


def config(kind: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    names = {"architectures": [name]} if name else {}
    return {"model_type": kind, **names, **more}


def test_the_list_is_that_of_the_installed_transformers() -> None:
    """`python -m benchmarks.model_types` makes it again."""
    import transformers

    assert transformers.__version__ == modeltypes.VERSION
    assert model_types.causal_classes() == modeltypes.CAUSAL
    assert tuple(model_types.encoders()) == modeltypes.ENCODERS


def test_every_class_of_the_list_is_there() -> None:
    import transformers

    for names in modeltypes.CAUSAL.values():
        assert all(hasattr(transformers, name) for name in names), names


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (config("t5", "T5ForConditionalGeneration"), "T5ForConditionalGeneration, type t5"),
        (config("bart", "BartForConditionalGeneration"), "BartForConditionalGeneration, type bart"),
        (config("bert", "BertForMaskedLM"), "BertForMaskedLM reads in both directions"),
        (config("roberta"), "roberta reads in both directions"),
        (config("distilbert", "DistilBertModel"), "no language model that continues text"),
        (config("clip"), "no language model that continues text for type clip"),
        (config("whisper", "WhisperForConditionalGeneration"), "no language model"),
        (config("llama", "LlamaForSequenceClassification"), "continues text is LlamaForCausalLM"),
        (config("llama", "LlamaModel"), "names the class LlamaModel"),
        (config("ours", "OurModel", auto_map=AUTO_MAP), "Code from a directory is never run"),
        (config("ours", "OurModel"), "no language model that continues text for OurModel"),
        (config("llama", is_encoder_decoder=True), "no language model that continues text"),
        (config("gpt_oss", quantization_config={"quant_method": "mxfp4"}), r"quantised \(mxfp4\)"),
        (config("llama", quantization_config={"bits": 4}), "quantised"),
        ({"architectures": ["LlamaForCausalLM"]}, "names no model_type"),
        ({"model_type": ["llama"]}, "names no model_type"),
    ],
)
def test_what_does_not_continue_text_is_refused_by_name(given: dict[str, Any], words: str) -> None:
    import re

    objection = architecture_objection(given)
    assert objection is not None and re.search(words, objection.message)
    assert objection.cure.endswith(".")


@pytest.mark.parametrize(
    "given",
    [
        config("llama", "LlamaForCausalLM", auto_map=AUTO_MAP),
        config("deepseek_v3", "DeepseekV3ForCausalLM", auto_map=AUTO_MAP),
        config("qwen3_5", "Qwen3_5ForConditionalGeneration"),
        config("gemma3", "Gemma3ForConditionalGeneration"),
        config("bert", "BertLMHeadModel", is_decoder=True),
        config("llama", quantization_config=None),
        config("gpt2"),
    ],
)
def test_a_class_that_transformers_has_is_taken_whatever_else_the_directory_asks_for(
    given: dict[str, Any],
) -> None:
    assert architecture_objection(given) is None


@pytest.mark.parametrize("name", [*PLAIN, *WINDOWED, *HYBRID, *CONDITIONAL])
def test_the_families_are_taken(name: str, tmp_path: Path) -> None:
    assert model_directory_problems(published_write(name, tmp_path / "model")) == []


def test_code_in_a_directory_is_told_and_no_reason(tmp_path: Path) -> None:
    directory = published_write("llama", tmp_path / "model")
    settings = json.loads((directory / "config.json").read_bytes())
    assert code_words(directory, settings) == ""
    asks = settings | {"auto_map": AUTO_MAP}
    assert code_words(directory, asks).startswith("Its config.json asks for code")
    (directory / "modeling_ours.py").write_text("raise SystemExit('it was run')")
    assert code_words(directory, asks) == (
        "The directory carries Python code (modeling_ours.py), which is never run: the model is "
        "used by transformers' own LlamaForCausalLM."
    )
    (directory / "config.json").write_text(json.dumps(asks))
    assert model_directory_problems(directory) == []
