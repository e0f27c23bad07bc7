"""The recipe of a blend, DIR/config.json. No torch here: the portal writes it."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from engine.checks import ConfigError, fields_of, number_check, text_check


@dataclass(frozen=True, kw_only=True)
class BlendConfig:
    """weights = (1 - alpha) * parent + alpha * candidate."""

    parent: str
    """The model that the candidate was trained from: a Hugging Face directory with safetensors."""
    candidate: str
    """The model that learnt, and forgot too much."""
    alpha: float
    """How far to go from the parent (0) to the candidate (1); neither end itself."""
    anchor_model: str | None = None
    """The pre-trained model that displacement is also measured against; None: not measured."""

    def __post_init__(self) -> None:
        text_check("parent", self.parent)
        text_check("candidate", self.candidate)
        if self.anchor_model is not None:
            text_check("anchor_model", self.anchor_model)
        number_check("alpha", self.alpha, above=True, maximum=1.0)
        if self.alpha == 1.0:
            message = "1 is the candidate itself"
            raise ConfigError("alpha", message, "Write a number above 0 and below 1.")

    @classmethod
    def from_json(cls, record: Any) -> Self:
        """Build a config from decoded JSON; ConfigError names the field that is wrong."""
        return cls(**fields_of(cls, record, ""))

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return dataclasses.asdict(self)


def example_config() -> dict[str, Any]:
    """Return a complete config, to start from."""
    return BlendConfig(
        parent="models/base", candidate="models/tuned", alpha=0.5, anchor_model="models/base"
    ).to_json()
