"""What a tensor's name tells: its layer and which of the layer's tensors it is. No torch here."""

import re
from dataclasses import dataclass

_EMBEDDINGS = ("embed", "lm_head", "wte", "wpe")  # the last two are GPT-2's
_LAYER = re.compile(r"(?:^|\.)(\d+)\.(.+)$")


@dataclass(frozen=True, kw_only=True)
class TensorName:
    """A name, taken apart."""

    layer: int | None
    """Counted from 0; None for what belongs to no layer, such as the embeddings."""
    part: str
    """Within its layer, such as self_attn.q_proj; the whole name without .weight elsewhere."""

    @classmethod
    def parse(cls, name: str) -> "TensorName":
        """Take apart `model.layers.3.self_attn.q_proj.weight` and its like, as transformers names
        the tensors of decoders: the first number is the layer's."""
        match = _LAYER.search(name)
        if match is None:
            return cls(layer=None, part=name.removesuffix(".weight"))
        return cls(layer=int(match[1]), part=match[2].removesuffix(".weight"))


def layers_spread(count: int) -> list[int]:
    """Return 0..count-1, each place far from those before it: ends and middle first.

    What is measured of layers in this order is spread over all of them, wherever it ends.
    """
    order: list[int] = []
    taken: set[int] = set()
    step = max(1, count - 1)
    while len(order) < count:
        for place in range(0, count, step):
            if place not in taken:
                taken.add(place)
                order.append(place)
        step = max(1, step // 2)
    return order


def is_projected(name: str, shape: tuple[int, ...]) -> bool:
    """Whether APOLLO projects this tensor: matrices and stacks of experts' matrices are projected,
    embeddings, heads, norms and biases are not."""
    is_stack = len(shape) == 3 and "experts" in name
    if name.endswith("bias") or any(part in name for part in _EMBEDDINGS):
        return False
    return len(shape) == 2 or is_stack
