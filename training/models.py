"""Loads the parent model: local safetensors only, no remote code, no weights left to chance."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from engine.checks import ConfigError
from training.config import RunConfig

EAGER_ATTENTION = ("gemma2",)  # wrong under SDPA with a cache
LOADING_CURE = "Use a complete causal language model that transformers knows."


def device_choose(name: str) -> torch.device:
    """Return the device of a config; ConfigError where the GPU it asks for is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", "there is no CUDA GPU", "Use auto or cpu.")
    use_cuda = name != "cpu" and torch.cuda.is_available()
    return torch.device("cuda", 0) if use_cuda else torch.device("cpu")


def attention_prepare(device: torch.device) -> None:
    """Have attention on the CPU read keys and values that several query heads share as they are.

    transformers else repeats them for each head wherever there is a mask, and every layer's copies
    stay for the backward. A GPU needs them: its fast kernels take no mask without.
    """
    os.environ["TRANSFORMERS_SDPA_FORCE_GQA"] = "1" if device.type == "cpu" else "0"


def model_load(config: RunConfig) -> Any:
    """Return the parent as a transformers model in the config's dtype, on the CPU.

    Raises ConfigError where the architecture is unknown or a weight is missing.
    """
    return causal_model(Path(config.model), getattr(torch, config.dtype))


def causal_model(path: Path, dtype: torch.dtype) -> Any:
    """Return a directory's model as it is taught by text; raises as `model_load` does."""
    try:
        settings = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        eager = settings.model_type in EAGER_ATTENTION
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are refused by name below
            output_loading_info=True,
            attn_implementation="eager" if eager else None,
        )
    except (ValueError, KeyError, OSError) as error:
        raise ConfigError("model", f"cannot be loaded: {error}", LOADING_CURE) from error
    model, info = loaded
    weights_check(info)
    text_alone_learns(model)
    return model


def weights_check(info: Mapping[str, Any]) -> None:
    """Refuse (ConfigError) weights that are missing or wrong by what transformers says of them."""
    wrong = sorted({*info["missing_keys"], *(one[0] for one in info["mismatched_keys"])})
    if wrong:
        message = f"lacks the weight {wrong[0]}, or has it in another shape than config.json says"
        raise ConfigError("model", message, LOADING_CURE)


def text_alone_learns(model: Any) -> None:
    """Take what text never reaches, such as vision, out of what is trained."""
    if model.config.get_text_config() is model.config:
        return
    parts = (model.get_decoder(), model.get_output_embeddings())
    reached = {id(one) for part in parts for one in part.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in reached)


def embedding_gradient_by_row(model: Any) -> None:
    """Spare a second gradient of the vocabulary's size where the embedding is the head's weight.

    The head's own part is dense and comes first; the rows of the tokens that were read are then
    added to it one by one: the same sum in another order. An embedding that is not a head is left
    as it is, for it would get a sparse gradient.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if isinstance(embedding, nn.Embedding) and getattr(head, "weight", None) is embedding.weight:
        embedding.sparse = True


def trainable_parameter_count(model: nn.Module) -> int:
    """Return how many numbers get gradient."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
