"""The recipe of an export, DIR/config.json. No torch here: the portal writes it."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from engine.checks import choice_check, fields_of, text_check

QUANTISATIONS = ("Q8_0", "Q4_K_M")
"""llama.cpp's names: 8 bits a weight, or about 5, mixed by what a tensor is for."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """One GGUF file of a checkpoint, as llama.cpp and Ollama read it."""

    model: str
    """A Hugging Face directory with safetensors."""
    quantisation: str
    """One of QUANTISATIONS."""
    name: str
    """What programs show that load the file."""
    licence: str = ""
    """As SPDX writes it; empty: not known."""
    checkpoint_sha256: str = ""
    """The hash over the checkpoint's manifest, kept in the file as where it came from."""

    def __post_init__(self) -> None:
        """Raise ConfigError where a field is impossible."""
        text_check("model", self.model)
        text_check("name", self.name)
        choice_check("quantisation", self.quantisation, QUANTISATIONS)

    @classmethod
    def from_json(cls, record: Any) -> Self:
        """Build a config from decoded JSON; ConfigError names the field that is wrong."""
        return cls(**fields_of(cls, record, ""))

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return dataclasses.asdict(self)


def example_config() -> dict[str, Any]:
    """Return a complete config, to start from."""
    return ExportConfig(
        model="models/tuned", quantisation="Q8_0", name="Tuned", licence="apache-2.0"
    ).to_json()
