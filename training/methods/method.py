"""What a method of training is: how gradients become updates, in numbers and in words.

A method is one file of this package with a `METHOD`; `training.methods` finds it there, and so do
form, forecast, memory estimate, warnings, remedies and model card. No torch at import: the portal
reads the same files. What needs torch is imported by the function that needs it.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, Protocol

from engine.checks import ConfigError

FLOAT32_BYTES = 4
GRADIENTS = "gradients"
OPTIMIZER = "optimizer state"
Shapes = Mapping[str, tuple[int, ...]]
"""Of a model's tensors, by name."""


class Settings(Protocol):
    """What a recipe says of its method (`training.config.MethodConfig`)."""

    @property
    def implementation(self) -> str | None: ...
    @property
    def rank(self) -> int | None: ...
    @property
    def scale(self) -> float | None: ...
    @property
    def lora_alpha(self) -> float | None: ...
    @property
    def base_bits(self) -> int | None: ...


class Lever(NamedTuple):
    """What to change where memory is too little, and the parts of the peak that it lowers."""

    words: str
    parts: tuple[str, ...]


class Method:
    """A method that trains every weight by itself; others say what differs."""

    key: ClassVar[str]
    """As recipes and events name it."""
    name: ClassVar[str]
    """As people write it."""
    help: ClassVar[str]
    """One sentence for the form."""
    order: ClassVar[int]
    """Its place in the form."""
    safe_rates: ClassVar[tuple[float, float]]
    """From where to where models learn without forgetting much."""
    settings: ClassVar[frozenset[str]] = frozenset()
    """Of `Settings`, those that it has a use for; the others are refused."""
    base_bits: ClassVar[tuple[int, ...]] = ()
    """In how many bits the weights that it leaves as they are can be held; (): in dtype alone."""
    implementations: ClassVar[Mapping[str, str]] = {}
    """By key, in words; the first is the default. {}: there is only one."""
    default_rank: ClassVar[int | None] = None
    is_adapter: ClassVar[bool] = False
    """Whether it trains an adapter beside the model's own weights, which stay as they are."""
    cuts_larger_side: ClassVar[bool] = False
    """Whether matrices are best cut along their larger side where processes share them."""
    lever: ClassVar[Lever]
    """What lowers its own memory."""
    remedy: ClassVar[str | None] = None
    """Why to try it after a session has forgotten; None where it is not proposed."""

    def check(self, settings: Settings) -> None:
        """Refuse settings that mean nothing here; ConfigError names the first."""
        for field in ("rank", "scale", "implementation", "lora_alpha", "base_bits"):
            if getattr(settings, field) is not None and field not in self.settings:
                message = f"has no meaning for {self.key}"
                raise ConfigError(f"method.{field}", message, "Leave it out.")

    def sharding_refusal(self, settings: Settings) -> str | None:
        """Return why a matrix cannot be shared out over processes; None where it can."""
        return None

    def shapes_check(self, settings: Settings, shapes: Shapes) -> None:
        """Refuse settings that do not fit the model's tensors; ConfigError names the first."""

    def rank(self, rank: int | None) -> int | None:
        """Return the rank in force where a recipe says `rank`; None where there is none."""
        return rank or self.default_rank

    def words(self, rank: int | None) -> str:
        """Return it as lists name it, with the rank where there is one to choose."""
        chosen = f", rank {self.rank(rank)}" if self._has_ranks else ""
        return f"{self.name}{chosen}"

    def card_words(self, settings: Settings) -> str:
        """Return it as a model card names it."""
        rank = f" of rank {self.rank(settings.rank)}" if self._has_ranks else ""
        return f"{self.name}{rank}"

    @property
    def _has_ranks(self) -> bool:
        return "rank" in self.settings and self.default_rank != 1

    def is_non_commercial(self, implementation: str | None) -> bool:
        """Whether what would train may not be used commercially."""
        return False

    def keeps_float32_moments(self, implementation: str | None) -> bool:
        """Whether the optimizer's moments are float32 where the weights are not."""
        return self.is_adapter

    def update_norm(self, settings: Settings, shapes: Shapes) -> float:
        """Return the largest L2 norm of one update of all weights, at rate 1.

        An entry of Adam's update is 1 at most.
        """
        return math.sqrt(sum(map(math.prod, shapes.values())))

    def trained_bytes(self, settings: Settings, shapes: Shapes, number_bytes: int) -> int:
        """Return the size of one number for everything that learns; number_bytes: of a weight."""
        return number_bytes * sum(map(math.prod, shapes.values()))

    def base_bytes(self, settings: Settings, shapes: Shapes, number_bytes: int) -> int:
        """Return the size of the model's own weights as they are held."""
        return number_bytes * sum(map(math.prod, shapes.values()))

    def restored_bytes(self, settings: Settings, shapes: Shapes, number_bytes: int) -> int:
        """Return the largest weight that is held otherwise and restored for each product."""
        return 0

    def optimizer_bytes(self, settings: Settings, shapes: Shapes, number_bytes: int) -> int:
        """Return the size of what the optimizer keeps from step to step."""
        return 2 * self.trained_bytes(settings, shapes, number_bytes)

    def uncut_bytes(
        self, settings: Settings, shapes: Shapes, number_bytes: int, processes: int
    ) -> int:
        """Return what of `optimizer_bytes` each of several processes has whole where they share
        the model."""
        return 0

    def step_bytes(self, shapes: Shapes, number_bytes: int) -> int:
        """Return what the optimizer needs for a while, during its step."""
        return 0

    def attach(self, model: Any, settings: Settings) -> Any:
        """Return the model as it is trained."""
        return model

    def optimizer(
        self, model: Any, settings: Settings, *, rate: float, weight_decay: float, seed: int
    ) -> Any:
        """Return the optimizer (torch.optim.Optimizer) over the model's trainable parameters."""
        from training.optimizers.groups import adamw_create

        return adamw_create(model, rate=rate, weight_decay=weight_decay)

    @contextmanager
    def state_loading(self, settings: Settings) -> Iterator[None]:
        """Allow what an optimizer's state holds beside tensors and numbers, and nothing else.

        ConfigError where another implementation wrote it.
        """
        yield

    def state_settle(self, optimizer: Any, settings: Settings) -> None:
        """Move a loaded state to its parameters; ConfigError where it is another's."""
