"""Tiny models of many architectures with random weights, for what must hold on all of them."""

from collections.abc import Callable
from typing import Any

import torch

from tests.tiny_model import END_ID, PAD_ID, START_ID, VOCABULARY_SIZE

COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY_SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
    "bos_token_id": START_ID,
    "eos_token_id": END_ID,
    "pad_token_id": PAD_ID,
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

    settings: dict[str, Any] = {name: COMMON[name] for name in COMMON if name.endswith("token_id")}
    settings |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    settings |= {"vocab_size": VOCABULARY_SIZE, "n_positions": 256, "n_embd": 32}
    return GPT2LMHeadModel(GPT2Config(**settings, n_layer=2, n_head=4))


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

    settings = _without("head_dim")
    return Lfm2ForCausalLM(
        Lfm2Config(**settings, layer_types=["conv", "full_attention"], block_multiple_of=8)
    )


def _granite_hybrid() -> Any:
    from transformers import GraniteMoeHybridConfig, GraniteMoeHybridForCausalLM

    settings = _without("head_dim")
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


def _phi3() -> Any:
    from transformers import Phi3Config, Phi3ForCausalLM

    settings = _without("head_dim") | {"original_max_position_embeddings": 256}
    return Phi3ForCausalLM(Phi3Config(**settings))


def _olmo2() -> Any:
    from transformers import Olmo2Config, Olmo2ForCausalLM

    return Olmo2ForCausalLM(Olmo2Config(**_without("head_dim")))


def _olmo3() -> Any:
    from transformers import Olmo3Config, Olmo3ForCausalLM

    kinds = ["sliding_attention", "full_attention"]
    settings = _without("head_dim") | {"sliding_window": WINDOW, "layer_types": kinds}
    return Olmo3ForCausalLM(Olmo3Config(**settings))


def _granite() -> Any:
    from transformers import GraniteConfig, GraniteForCausalLM

    return GraniteForCausalLM(GraniteConfig(**_without("head_dim"), attention_multiplier=0.35))


def _gpt_oss() -> Any:
    from transformers import GptOssConfig, GptOssForCausalLM

    experts: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
    kinds = ["sliding_attention", "full_attention"]
    config = GptOssConfig(**COMMON, **experts, sliding_window=WINDOW, layer_types=kinds)
    return GptOssForCausalLM(config)


def _glm4() -> Any:
    from transformers import Glm4Config, Glm4ForCausalLM

    return Glm4ForCausalLM(Glm4Config(**COMMON))


def _smollm3() -> Any:
    from transformers import SmolLM3Config, SmolLM3ForCausalLM

    # Every second layer without rotary positions, as in the published one every fourth.
    return SmolLM3ForCausalLM(SmolLM3Config(**_without("head_dim"), no_rope_layers=[1, 0]))


def _falcon_h1() -> Any:
    from transformers import FalconH1Config, FalconH1ForCausalLM

    return FalconH1ForCausalLM(
        FalconH1Config(
            **COMMON,
            mamba_d_ssm=32,
            mamba_n_heads=4,
            mamba_d_head=8,
            mamba_n_groups=1,
            mamba_d_state=8,
            mamba_chunk_size=16,
        )
    )


def _deepseek_v3() -> Any:
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    settings = _without("head_dim") | {
        "num_key_value_heads": 4,
        "moe_intermediate_size": 24,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 2,
        "topk_group": 1,
        "first_k_dense_replace": 1,
        "q_lora_rank": 16,
        "kv_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
    }
    return DeepseekV3ForCausalLM(DeepseekV3Config(**settings))


def _without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in COMMON.items() if name not in names}


PLAIN = (
    *("llama", "qwen3", "qwen3_moe", "gpt2", "phi3", "olmo2", "granite", "glm4", "smollm3"),
    "deepseek_v3",
)
WINDOWED = ("mistral", "gemma2", "gemma3", "olmo3", "gpt_oss")
HYBRID = ("qwen3_5", "qwen3_next", "lfm2", "granite_hybrid", "falcon_h1")
_MAKERS: dict[str, Callable[[], Any]] = {
    "llama": _llama,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "gpt2": _gpt2,
    "mistral": _mistral,
    "phi3": _phi3,
    "olmo2": _olmo2,
    "olmo3": _olmo3,
    "granite": _granite,
    "glm4": _glm4,
    "smollm3": _smollm3,
    "deepseek_v3": _deepseek_v3,
    "gpt_oss": _gpt_oss,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "qwen3_5": _qwen3_5,
    "qwen3_next": _qwen3_next,
    "lfm2": _lfm2,
    "granite_hybrid": _granite_hybrid,
    "falcon_h1": _falcon_h1,
}


def shape(name: str) -> Any:
    """A model of this architecture; the same name always gives the same weights."""
    return drawn(_MAKERS[name])


def drawn(maker: Callable[[], Any]) -> Any:
    """What `maker` makes, always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = maker()
        for parameter in model.parameters():
            # Larger than at the start of training, so that attention is not nearly even.
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()
