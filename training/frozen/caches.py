"""The cache through which conversations are read, for every kind of attention.

transformers' own layers are made for generation: those of linear attention write their states in
place, which autograd refuses in the backward, and those of sliding windows throw away what a
window that is cut back would need again. Here nothing is written in place, so a cache can be kept
aside at no cost while another goes on from it.
"""

import copy
from collections.abc import Callable
from typing import Any, Self

import torch
from transformers import DynamicCache
from transformers.cache_utils import (
    DummyLayer,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionCacheLayerMixin,
    LinearAttentionLayer,
)


class _AssignedStates:
    """Linear attention's states, assigned where the stock layers copy into a fixed place."""

    conv_states: dict[int, Any]
    recurrent_states: dict[int, Any]
    conv_kernel_size: dict[int, Any]
    is_conv_states_initialized: dict[int, bool]
    is_recurrent_states_initialized: dict[int, bool]
    has_previous_state: dict[int, bool]
    dtype: Any
    device: Any

    def update_conv_state(
        self,
        conv_states: torch.Tensor,
        state_idx: int = 0,
        conv_kernel_size: int | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """conv_states: (conversations, channels, new tokens); returns them after the old ones."""
        before = self.conv_states[state_idx]
        if before is None:
            self.dtype, self.device = conv_states.dtype, conv_states.device
            self.conv_kernel_size[state_idx] = conv_kernel_size or conv_states.shape[-1]
            self.is_conv_states_initialized[state_idx] = True
            self.has_previous_state[state_idx] = True
            seen = conv_states
        else:
            seen = torch.cat([before, conv_states], dim=-1)
        self.conv_states[state_idx] = seen[..., -self.conv_kernel_size[state_idx] :]
        return seen

    def update_recurrent_state(
        self, recurrent_states: torch.Tensor, state_idx: int = 0, **_: Any
    ) -> torch.Tensor:
        """Take over what the layer computed; returns it."""
        self.recurrent_states[state_idx] = recurrent_states
        self.is_recurrent_states_initialized[state_idx] = True
        return recurrent_states


_ASSIGNED: dict[type, type] = {
    stock: type(f"Assigned{stock.__name__}", (_AssignedStates, stock), {})
    for stock in (
        LinearAttentionLayer,
        LinearAttentionAndFullAttentionLayer,
        LinearAttentionAndSlidingWindowAttentionLayer,
    )
}


class CacheFilledError(Exception):
    """No failure: the cache holds what it was to hold, and the rest of the forward has no use."""


class StreamCache(DynamicCache):
    """The keys, values and states of conversations that are read side by side.

    `windows` holds for every layer the length of its attention window in tokens, or None.
    `only_fill` ends a forward by CacheFilledError once the last keys and values are there: what the
    last layer makes of context is never used.
    """

    def __init__(self, config: Any, *, whole: bool = False) -> None:
        """whole: keep all keys of sliding windows too, for masks of our own that cover them."""
        super().__init__(config=config)
        self.windows = [getattr(layer, "sliding_window", None) for layer in self.layers]
        self.only_fill = False
        self._last = _last_attention(self.layers)
        self.layers = [_layer_prepare(layer, whole) for layer in self.layers]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *rest: Any,
        **more: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values (conversations, heads, tokens, width); return all of them."""
        updated = super().update(key_states, value_states, layer_idx, *rest, **more)
        if self.only_fill and layer_idx == self._last:
            raise CacheFilledError
        return updated

    @property
    def is_plain(self) -> bool:
        """Whether every layer keeps the keys and values of all tokens and nothing else."""
        return all(type(layer) is DynamicLayer for layer in self.layers)

    @property
    def has_states(self) -> bool:
        """Whether some layer keeps a state that every token changes, pads too."""
        return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in self.layers)

    def fork(self) -> Self:
        """Return a second cache that begins with what this one holds."""
        twin = copy.copy(self)
        twin.layers = [copy.copy(layer) for layer in self.layers]
        # Some recurrent layers write single tokens' states in place, and states are small.
        twin.change(torch.clone, states_only=True)
        return twin

    def first(self, count: int) -> None:
        """Forget all but the first `count` conversations."""
        self.change(lambda tensor: tensor[:count])

    def shorten(self, length: int) -> None:
        """Forget all but the first `length` tokens; of plain caches only."""
        self.change(lambda tensor: tensor[..., :length, :])

    def detach(self) -> None:
        """Cut everything off the graph, so that a decision that is done becomes context."""
        self.change(torch.Tensor.detach)

    def change(
        self, function: Callable[[torch.Tensor], torch.Tensor], *, states_only: bool = False
    ) -> None:
        """Replace every tensor; states_only: leave the keys and values of attention alone."""
        for layer in self.layers:
            for name, value in list(vars(layer).items()):
                if isinstance(value, dict):
                    changed = {k: _apply(function, v) for k, v in value.items()}
                    setattr(layer, name, changed)
                elif not states_only and isinstance(value, torch.Tensor) and value.ndim > 1:
                    setattr(layer, name, function(value))


def _apply(function: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    return function(value) if isinstance(value, torch.Tensor) else value


def _last_attention(layers: list[Any]) -> int | None:
    """The layer after whose keys and values no layer keeps anything; None where that is not plain.

    Layers after it that share its keys keep nothing of their own.
    """
    keeping = [index for index, layer in enumerate(layers) if type(layer) is not DummyLayer]
    if not keeping or type(layers[keeping[-1]]) not in (DynamicLayer, DynamicSlidingWindowLayer):
        return None
    return keeping[-1]


def _layer_prepare(layer: Any, whole: bool) -> Any:
    if whole and type(layer) is DynamicSlidingWindowLayer:
        return DynamicLayer()
    assigned = _ASSIGNED.get(type(layer))
    if assigned is None:
        return layer
    prepared: Any = object.__new__(assigned)
    vars(prepared).update(vars(layer))
    # Else models update the convolution's state for a single token in place, past this class.
    prepared.record_past = True
    return prepared
