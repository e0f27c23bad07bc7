"""The estimate of a hybrid's activations against what torch itself keeps and has alive."""

import weakref
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.training.ahead.test_memory import SHAPES, config_of
from training.ahead.decoder import DecoderShape
from training.ahead.memory import ACTIVATIONS, GPU_FACTOR, Workload, memory_estimate


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activations_of_a_hybrid_are_as_torch_counts_them(dtype: str) -> None:
    """What Qwen3.5 keeps for its backward, and what is alive while it reads: on wider shapes than
    those that the estimate's coefficients were counted on, in other proportions."""
    config, model = hybrid(getattr(torch, dtype))
    decoder = DecoderShape.from_config(config.to_dict())
    assert decoder.recurrent is not None
    assert (decoder.layers, decoder.attending) == (4, 1)
    tokens = 256
    ids = torch.randint(0, 64, (1, tokens))
    whole = Workload(longest_tokens=tokens, longest_decision_tokens=tokens)
    estimated = memory_estimate(
        config_of(dtype=dtype, context_frozen=False, max_example_tokens=tokens),
        shapes=SHAPES,
        decoder=decoder,
        workload=whole,
        on_gpu=True,
    ).part_bytes(ACTIVATIONS)
    counted = GPU_FACTOR * saved_bytes(model.model, ids)
    assert estimated == pytest.approx(counted, rel=0.1)
    read = memory_estimate(
        config_of(dtype=dtype, method={"name": "lora", "rank": 1}),
        shapes=SHAPES,
        decoder=decoder,
        workload=Workload(longest_tokens=1000 * tokens, longest_decision_tokens=1),
        on_gpu=True,
    ).part_bytes(ACTIVATIONS)
    with torch.no_grad(), Alive(model) as alive:
        model.model(input_ids=ids, use_cache=False)
    assert read / 1000 == pytest.approx(GPU_FACTOR * alive.peak_bytes, rel=0.1)


def hybrid(dtype: torch.dtype) -> Any:
    """A small Qwen3.5: its config, and the model with random weights."""
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    config = Qwen3_5TextConfig(
        vocab_size=64, hidden_size=160, intermediate_size=320, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=1, head_dim=32, linear_num_key_heads=2,
        linear_num_value_heads=6, linear_key_head_dim=32, linear_value_head_dim=32,
    )  # fmt: skip
    model: Any = Qwen3_5ForCausalLM(config)
    return config, model.to(dtype)


def saved_bytes(model: torch.nn.Module, ids: torch.Tensor) -> int:
    """Bytes of the storages that a forward keeps for its backward, but for the weights."""
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(input_ids=ids, use_cache=False)
    assert output.last_hidden_state.requires_grad
    return sum(one.nbytes() for one in kept.values())


class Alive(TorchDispatchMode):
    """The most bytes of storages that were alive together, but for the weights."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
        self.now_bytes = self.peak_bytes = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, torch.Tensor):
                self._count(one.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        place = storage.data_ptr()
        if place in self._sizes or place in self._weights:
            return
        self._sizes[place] = storage.nbytes()
        self.now_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self.now_bytes)
        weakref.finalize(storage, self._forget, place)

    def _forget(self, place: int) -> None:
        self.now_bytes -= self._sizes.pop(place, 0)
