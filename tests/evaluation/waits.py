"""Counts how often Python asks a device for values, each of which waits for all work before it."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode

WAITING = {
    *("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__float__", "__int__"),
    *("__index__", "__contains__", "equal", "allclose", "unique", "masked_select"),
}


class Waits(TorchFunctionMode):
    """Within, every call that would wait for a GPU is counted by its name. Works on a processor,
    where nothing waits: it is the calls that are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        # A tensor that goes to the model's device goes to a torch.device, never to a text.
        to_host = name == "to" and any(isinstance(one, str) and one == "cpu" for one in args[1:])
        if name in WAITING or to_host:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))
