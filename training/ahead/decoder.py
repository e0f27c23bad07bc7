"""The shape of a decoder as its config.json tells it: what activations and caches hang on.

No torch here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LINEAR = "linear_attention"
_CHUNK = 64
"""Tokens that a delta rule takes together."""
_KEPT = {4: (12, 32, 44), 2: (4, 30, 32)}
"""By the bytes of a weight: bytes a token that a delta rule keeps for its backward, of each number
that is mixed, of the values and of the keys; most are float32 whatever the weights are."""
_CHUNK_MATRICES = 5.2
"""And so many float32 rows of a chunk, each head."""


@dataclass(frozen=True, kw_only=True)
class RecurrentShape:
    """Layers of a gated delta rule (Qwen3-Next, Qwen3.5), which keep a state and no keys."""

    layers: int
    heads: int
    """As many as there are of values; those of keys are repeated for them."""
    key: int
    """The width of a head's keys and queries."""
    value: int
    """The width of a head's values."""
    mixed: int
    """What the convolution reads of a token: queries, keys and values as they are projected."""

    @property
    def values(self) -> int:
        """Heads × the width of a value."""
        return self.heads * self.value

    @property
    def keys(self) -> int:
        """Heads × the width of a key."""
        return self.heads * self.key

    @property
    def state(self) -> int:
        """Numbers of a layer's state, whatever the conversation's length."""
        return self.heads * self.key * self.value

    def kept_bytes(self, number_bytes: int) -> float:
        """Return what a layer's rule keeps of a token for its backward; a state for each chunk.

        Counted with torch's saved-tensor hooks on Qwen3.5 shapes of several widths, without
        flash-linear-attention.
        """
        mixed, values, keys = _KEPT[number_bytes]
        rows = self.heads * _CHUNK * _CHUNK_MATRICES * 4
        chunks = self.state / _CHUNK * 4
        return mixed * self.mixed + values * self.values + keys * self.keys + rows + chunks

    def read_bytes(self, hidden: int, number_bytes: int) -> float:
        """Return what a layer takes of a token at most while it reads without gradient.

        Counted likewise, from the storages that are alive.
        """
        own = number_bytes * (2 * hidden + self.mixed)
        return own + 24 * (self.values + self.keys) + 3 * _CHUNK * 4 * self.heads


@dataclass(frozen=True, kw_only=True)
class DecoderShape:
    """What of a model's config decides how large activations are; widths in numbers."""

    layers: int
    hidden: int
    queries: int
    """Heads × the width of a head."""
    keys: int
    """Key-value heads × the width of a head."""
    intermediate: int
    vocabulary: int
    recurrent: RecurrentShape | None = None
    """Those of the layers that keep no keys and values; None where all do."""

    @property
    def attention_kept(self) -> tuple[int, int]:
        """How often attention keeps a token's queries and keys for its backward: oftener where it
        normalises both and has a gate, as beside delta rules."""
        return (8, 4) if self.recurrent else (2, 1)

    @property
    def attending(self) -> int:
        """Layers that keep keys and values, those of sliding windows too: where several decisions
        share a backward or pads stand between, they keep them all."""
        return self.layers - (self.recurrent.layers if self.recurrent else 0)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "DecoderShape":
        """Read a model directory's config.json; ValueError names what it lacks."""
        own = config.get("text_config")
        values: Mapping[str, Any] = own if isinstance(own, Mapping) and own else config
        hidden = _whole(values, "hidden_size", "n_embd")
        heads = _whole(values, "num_attention_heads", "n_head")
        head = _whole(values, "head_dim", default=hidden // heads)
        keys = _whole(values, "num_key_value_heads", default=heads)
        layers = _whole(values, "num_hidden_layers", "n_layer")
        return cls(
            layers=layers,
            hidden=hidden,
            queries=heads * head,
            keys=keys * head,
            intermediate=_intermediate(values, hidden),
            vocabulary=_whole(values, "vocab_size"),
            recurrent=_recurrent(values, layers),
        )


def _whole(values: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        value = values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        if value is not None:
            raise ValueError(f"the model's config.json has a {name} that is no single size")
    if default is not None:
        return default
    raise ValueError(f"the model's config.json has no {names[0]}")


def _intermediate(values: Mapping[str, Any], hidden: int) -> int:
    """The width of the MLP; of a mixture of experts, that of all experts a token goes through."""
    experts = values.get("num_experts_per_tok")
    width = values.get("moe_intermediate_size")
    if isinstance(experts, int) and isinstance(width, int):
        return experts * width
    return _whole(values, "intermediate_size", "n_inner", default=4 * hidden)


def _recurrent(values: Mapping[str, Any], layers: int) -> RecurrentShape | None:
    """The layers of a delta rule; other kinds of states count as attention, which takes more."""
    kinds = values.get("layer_types")
    count = kinds.count(_LINEAR) if isinstance(kinds, list) else 0
    every = values.get("full_attention_interval")
    if kinds is None and isinstance(every, int) and every > 0:
        count = layers - layers // every
    if not count or "linear_num_value_heads" not in values:
        return None
    heads, key_heads = (_whole(values, f"linear_num_{one}_heads") for one in ("value", "key"))
    key, value = (_whole(values, f"linear_{one}_head_dim") for one in ("key", "value"))
    mixed = 2 * key_heads * key + heads * value
    return RecurrentShape(layers=min(count, layers), heads=heads, key=key, value=value, mixed=mixed)
