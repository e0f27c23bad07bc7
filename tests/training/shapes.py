"""Tiny models of many architectures with random weights, for what must hold on all of them."""

from collections.abc import Callable
from typing import Any

import torch

COMMON: dict[str, Any] = {
    "vocab_size": 256,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
WINDOW = 12
"""Tokens of the attention windows, far fewer than the conversations have."""


def _llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**COMMON))


def _qwen3() -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**COMMON))


def _qwen3_moe() -> Any:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    experts: dict[str, Any] = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
    }
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**COMMON, **experts))


def _gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    quiet: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=256, n_positions=256, n_embd=32, n_layer=2, n_head=4, **quiet)
    )


def _mistral() -> Any:
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(MistralConfig(**COMMON, sliding_window=WINDOW))


def _gemma2() -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(**COMMON, sliding_window=WINDOW, query_pre_attn_scalar=8)
    config._attn_implementation = "eager"
    return Gemma2ForCausalLM(config)


def _gemma3() -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    kinds = ["sliding_attention", "full_attention"]
    return Gemma3ForCausalLM(
        Gemma3TextConfig(
            **COMMON, sliding_window=WINDOW, query_pre_attn_scalar=8, layer_types=kinds
        )
    )


def _qwen3_5() -> Any:
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    return Qwen3_5ForCausalLM(
        Qwen3_5TextConfig(
            **COMMON,
            layer_types=["linear_attention", "full_attention"],
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
        )
    )


def _qwen3_next() -> Any:
    from transformers import Qwen3NextConfig, Qwen3NextForCausalLM

    return Qwen3NextForCausalLM(
        Qwen3NextConfig(
            **COMMON,
            layer_types=["linear_attention", "full_attention"],
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=24,
            shared_expert_intermediate_size=24,
        )
    )


def _lfm2() -> Any:
    from transformers import Lfm2Config, Lfm2ForCausalLM

    settings = {name: value for name, value in COMMON.items() if name != "head_dim"}
    return Lfm2ForCausalLM(
        Lfm2Config(**settings, layer_types=["conv", "full_attention"], block_multiple_of=8)
    )


def _granite_hybrid() -> Any:
    from transformers import GraniteMoeHybridConfig, GraniteMoeHybridForCausalLM

    settings = {name: value for name, value in COMMON.items() if name != "head_dim"}
    return GraniteMoeHybridForCausalLM(
        GraniteMoeHybridConfig(
            **settings,
            layer_types=["mamba", "attention"],
            mamba_n_heads=8,
            mamba_d_head=8,
            mamba_d_state=8,
            mamba_expand=2,
            mamba_n_groups=1,
            mamba_chunk_size=16,
            shared_intermediate_size=48,
            num_local_experts=4,
            num_experts_per_tok=2,
            position_embedding_type="rope",
        )
    )


PLAIN = ("llama", "qwen3", "qwen3_moe", "gpt2")
WINDOWED = ("mistral", "gemma2", "gemma3")
HYBRID = ("qwen3_5", "qwen3_next", "lfm2", "granite_hybrid")
_MAKERS: dict[str, Callable[[], Any]] = {
    "llama": _llama,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "gpt2": _gpt2,
    "mistral": _mistral,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "qwen3_5": _qwen3_5,
    "qwen3_next": _qwen3_next,
    "lfm2": _lfm2,
    "granite_hybrid": _granite_hybrid,
}


def shape(name: str) -> Any:
    """A model of this architecture; the same name always gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _MAKERS[name]()
        for parameter in model.parameters():
            # Larger than at the start of training, so that attention is not nearly even.
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()
