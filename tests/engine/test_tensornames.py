"""What tensors' names tell: layers, parts, and what APOLLO projects."""

import pytest

from engine.tensornames import TensorName, is_projected


@pytest.mark.parametrize(
    ("name", "layer", "part"),
    [
        ("model.layers.3.self_attn.q_proj.weight", 3, "self_attn.q_proj"),
        ("model.language_model.layers.11.mlp.up_proj.weight", 11, "mlp.up_proj"),
        ("h.0.attn.c_attn.weight", 0, "attn.c_attn"),
        ("model.layers.2.mlp.experts.7.down_proj.weight", 2, "mlp.experts.7.down_proj"),
        ("model.embed_tokens.weight", None, "model.embed_tokens"),
    ],
)
def test_a_name_is_taken_apart(name: str, layer: int | None, part: str) -> None:
    assert TensorName.parse(name) == TensorName(layer=layer, part=part)


@pytest.mark.parametrize(
    ("name", "shape", "projected"),
    [
        ("model.layers.0.self_attn.q_proj.weight", (8, 8), True),
        ("model.layers.0.mlp.experts.gate_up_proj", (4, 16, 8), True),
        ("model.layers.0.mlp.experts.gate_up_proj_bias", (4, 16), False),
        ("model.layers.0.linear_attn.conv1d.weight", (16, 1, 4), False),
        ("model.layers.0.input_layernorm.weight", (8,), False),
        ("model.language_model.embed_tokens.weight", (260, 8), False),
        ("lm_head.weight", (260, 8), False),
    ],
)
def test_matrices_and_stacks_of_experts_are_projected(
    name: str, shape: tuple[int, ...], projected: bool
) -> None:
    assert is_projected(name, shape) is projected
