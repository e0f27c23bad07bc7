"""Tiny random models in directories, as they are published: by their own class, with a tokenizer.

Some hold what text does not reach: vision, and heads for several tokens ahead.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.tiny_model import tiny_tokenizer_write
from tests.training.shapes import COMMON, WINDOW, drawn, shape

AHEAD = {
    "mtp.fc.weight": (32, 64),
    "mtp.layers.0.input_layernorm.weight": (32,),
    "mtp.norm.weight": (32,),
}
"""What Qwen3.5 predicts several tokens ahead with, which transformers has no use for."""


_QWEN3_5_TEXT: dict[str, Any] = COMMON | {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "mrope_section": [1, 1, 2],
        "mrope_interleaved": True,
        "partial_rotary_factor": 1.0,
    },
}
_QWEN3_5_VISION = {
    "depth": 1,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "out_hidden_size": 32,
    "num_position_embeddings": 16,
    "patch_size": 4,
}
_EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
}


def _qwen3_5() -> Any:
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    both: dict[str, Any] = {"text_config": _QWEN3_5_TEXT, "vision_config": _QWEN3_5_VISION}
    return Qwen3_5ForConditionalGeneration(Qwen3_5Config(**both, tie_word_embeddings=False))


def _qwen3_5_moe() -> Any:
    from transformers import Qwen3_5MoeConfig, Qwen3_5MoeForConditionalGeneration

    both: dict[str, Any] = {
        "text_config": _QWEN3_5_TEXT | _EXPERTS,
        "vision_config": _QWEN3_5_VISION,
    }
    return Qwen3_5MoeForConditionalGeneration(Qwen3_5MoeConfig(**both, tie_word_embeddings=False))


def _gemma3() -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = COMMON | {
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "full_attention"],
        "tie_word_embeddings": True,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return Gemma3ForConditionalGeneration(config)


_CONDITIONAL: dict[str, Callable[[], Any]] = {
    "qwen3_5_published": _qwen3_5,
    "qwen3_5_moe_published": _qwen3_5_moe,
    "gemma3_published": _gemma3,
}
CONDITIONAL = tuple(_CONDITIONAL)


def published_write(name: str, directory: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """Write a model of `shapes` or one of CONDITIONAL, its tokenizer beside it."""
    model = drawn(_CONDITIONAL[name]) if name in _CONDITIONAL else shape(name)
    model.to(dtype).save_pretrained(directory)
    if name in _CONDITIONAL and name.startswith("qwen3_5"):
        path = directory / "model.safetensors"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            ahead = {one: torch.randn(*sides).to(dtype) for one, sides in AHEAD.items()}
        save_file(load_file(path) | ahead, path, {"format": "pt"})
    return tiny_tokenizer_write(directory)
