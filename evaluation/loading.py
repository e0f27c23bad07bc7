"""Loads a model and its tokenizer for measuring; no code from the directory, and no pickles.

Weights are safetensors, or one GGUF that transformers de-quantises: it reads the file by itself and
takes nothing from the checkpoint that the file was made of, so a mistake in writing it is measured
as what it costs. The tokenizer is tokenizer.json either way.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from corpus.conversations import ChatEncoder
from corpus.templates import ChatTemplate
from engine.attempt import EngineError
from engine.manifest import file_sha256
from engine.modelcheck import gguf_file
from engine.process import BAD_INPUT, OUT_OF_MEMORY
from engine.products import linear_layers_prepare
from evaluation.batching import BatchSize
from evaluation.config import AUTO, EngineConfig
from evaluation.placing import Placement, placement, weights_bytes


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model ready to be asked, with what was decided while loading it."""

    model: Any
    tokenizer: Any
    device: torch.device
    """Where its inputs go."""
    dtype: str
    """The number format of its weights; never auto."""
    placed: str
    """Where its weights are, in words."""
    prefix_token_id: int
    """Stands before every text, so that its first token has something to follow."""
    context_limit_tokens: int | None
    """The longest sequence the model was made for; None where its config does not say."""
    attention: str
    """What computes attention: another kernel changes the last bits of a likelihood."""
    products: str
    """Which library multiplies in its linear layers: oneDNN where that is faster, else torch's."""

    def template_arguments_check(self, arguments: Mapping[str, Any]) -> None:
        """Raise EngineError (BAD_INPUT) where the chat template does not know one of these, which
        transformers would ignore in silence."""
        template = self.tokenizer.chat_template
        if arguments and isinstance(template, str):
            for name in sorted(set(arguments) - ChatTemplate(template, {}).variables)[:1]:
                message = "the model's chat template knows no such thing"
                where = f"template_arguments.{name}"
                raise EngineError(BAD_INPUT, where, message, "Leave it out.")


def model_load(config: EngineConfig) -> Loaded:
    """Load the model of a config. Raises EngineError (BAD_INPUT) naming what is wrong with it."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = _device(config.device)
    dtype = _dtype(config.dtype, device)
    placed = _placement(config, dtype, device)
    try:
        tokenizer = _tokenizer_read(config.model)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            config.model,
            dtype=getattr(torch, dtype),
            attn_implementation=None,  # torch's own, or plain products where a class needs them
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # they are refused by name below
            output_loading_info=True,
            **_weights(config),
            **_whereabouts(placed),
        )
    except (OSError, ValueError, KeyError) as error:
        message = f"cannot be loaded: {str(error).splitlines()[0]}"
        raise EngineError(BAD_INPUT, "model", message, "Choose another checkpoint.") from error
    model, info = loaded
    wrong = sorted({*info["missing_keys"], *(one[0] for one in info["mismatched_keys"])})
    if wrong:  # transformers draws them at random, and that would be measured
        message = f"lacks the weight {wrong[0]}, or has it in another shape than config.json says"
        raise EngineError(BAD_INPUT, "model", message, "Choose a complete checkpoint.")
    prefix = tokenizer.bos_token_id
    prefix = tokenizer.eos_token_id if prefix is None else prefix
    if prefix is None:
        message = "its tokenizer names neither a first nor a last token"
        cure = "Set bos_token or eos_token in tokenizer_config.json."
        raise EngineError(BAD_INPUT, "model", message, cure)
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    model = model.eval()
    _whole_check(model)
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        device=model.get_input_embeddings().weight.device,
        dtype=dtype,
        placed=placed.words if placed else "the processor's memory",
        prefix_token_id=prefix,
        context_limit_tokens=limit,
        attention=model.config._attn_implementation,
        products=_products(model, dtype, device),
    )


def _tokenizer_read(directory: str) -> Any:
    """The tokenizer by its class, or by its tokenizer.json alone where that class is code of the
    directory's own, which is never run."""
    settings: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        return AutoTokenizer.from_pretrained(directory, **settings)
    except ValueError:
        if "auto_map" not in json.loads((Path(directory) / "tokenizer_config.json").read_bytes()):
            raise
    return PreTrainedTokenizerFast.from_pretrained(directory, **settings)


def _weights(config: EngineConfig) -> dict[str, Any]:
    file = gguf_file(config.model)
    return {"gguf_file": file.name} if file else {"use_safetensors": True}


def encoder_read(config: EngineConfig) -> ChatEncoder:
    """The model's tokenizer and chat template. Raises EngineError (BAD_INPUT) without them."""
    try:
        return ChatEncoder.from_directory(config.model)
    except ValueError as error:
        cure = "Save the model with its tokenizer."
        raise EngineError(BAD_INPUT, "model", str(error), cure) from error


def _dtype(wanted: str, device: torch.device) -> str:
    if wanted != AUTO:
        return wanted
    computes = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if computes else "float32"


def _placement(config: EngineConfig, dtype: str, device: torch.device) -> Placement | None:
    """Which GPUs hold the weights; None on a processor."""
    if device.type == "cpu":
        return None
    try:
        needed_bytes = weights_bytes(config.model, dtype, gguf_file(config.model))
    except (OSError, ValueError) as error:
        raise EngineError(BAD_INPUT, "model", str(error), "Choose another checkpoint.") from error
    numbers = range(torch.cuda.device_count())
    return placement(needed_bytes, [torch.cuda.mem_get_info(number)[0] for number in numbers])


def _whereabouts(placed: Placement | None) -> dict[str, Any]:
    """What transformers is told of where the weights go: straight there, past the host."""
    if placed is None:
        return {}
    if not placed.is_spread:
        return {"device_map": {"": 0}}
    return {"device_map": "balanced", "max_memory": placed.most_bytes}


def _whole_check(model: Any) -> None:
    """Refuse a model of which accelerate has left a part to the host or the disk: it would be
    copied to the GPU anew for every pass."""
    places = getattr(model, "hf_device_map", {})
    outside = next((name for name, where in places.items() if where in ("cpu", "disk")), None)
    if outside is not None:
        message = f"{outside} found no room on the GPUs, whose gaps are too small for whole layers"
        cure = "Measure in bfloat16, free the GPUs, or give the worker more."
        raise EngineError(OUT_OF_MEMORY, "model", message, cure)


def _products(model: Any, dtype: str, device: torch.device) -> str:
    """Let oneDNN multiply where it can, and say who does."""
    if device.type != "cpu" or dtype != "float32":
        return "torch"
    return "oneDNN" if linear_layers_prepare(model) else "torch"


def settings_of(config: EngineConfig, loaded: Loaded, batch: BatchSize) -> dict[str, Any]:
    """Everything that can change a figure: what both sides of a comparison must share."""
    versions = {
        name: importlib.metadata.version(name) for name in ("torch", "transformers", "lm-eval")
    }
    return {
        "dtype": loaded.dtype,
        "device": loaded.device.type,
        "weights_on": loaded.placed,
        "attention": loaded.attention,
        "products": loaded.products,
        "batch_size": batch.size,
        "batch_size_why": batch.words,
        "seed": config.seed,
        "threads": torch.get_num_threads(),
        "prefix_token_id": loaded.prefix_token_id,
        "tokenizer_sha256": file_sha256(Path(config.model) / "tokenizer.json"),
        "versions": {"python": platform.python_version(), **versions},
    }


def _device(wanted: str) -> torch.device:
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        cure = "Use device auto or cpu, or a machine with a GPU."
        raise EngineError(BAD_INPUT, "device", "there is no GPU here", cure)
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")
