"""What a model's intake is told, DIR/config.json. No torch here: the portal writes it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.checks import ConfigError, fields_of, text_check

FETCHED_NAME = "files"
"""In the job's directory, for all attempts: what has come from the hub."""
_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
_REVISION = re.compile(r"[\w./-]{1,200}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class IntakeConfig:
    """A model that is looked at before anybody teaches it."""

    model: str | None = None
    """Its directory; None where it is fetched."""
    hub_id: str | None = None
    """organisation/name of a model on the Hugging Face hub; its files become the output."""
    revision: str | None = None
    """A branch, tag or commit there; None: main."""

    def __post_init__(self) -> None:
        if (self.model is None) == (self.hub_id is None):
            message = "is missing" if self.model is None else "stands beside hub_id"
            raise ConfigError("model", message, "Give a directory or a hub id, not both.")
        if self.model is not None:
            text_check("model", self.model)
        if self.hub_id is not None and not is_hub_id(self.hub_id):
            cure = "Write it as organisation/name."
            raise ConfigError("hub_id", f"{self.hub_id!r} is not a hub id", cure)
        if self.revision is not None and not _REVISION.fullmatch(str(self.revision)):
            cure = "Write a branch, a tag or a commit."
            raise ConfigError("revision", f"{self.revision!r} is not a revision", cure)

    @classmethod
    def from_json(cls, record: Any) -> "IntakeConfig":
        """Read a decoded config.json; ConfigError names the first wrong field."""
        return cls(**fields_of(cls, record, ""))

    def to_json(self) -> Mapping[str, Any]:
        """What `from_json` reads back."""
        return asdict(self)


def is_hub_id(text: str) -> bool:
    """Whether it is written as hub ids are."""
    return _HUB_ID.fullmatch(str(text)) is not None and ".." not in text
