"""Results of finished parts, kept in the attempt so that a stopped measurement can go on.

`attempts/<N>/parts/` holds one JSON file a finished benchmark or text, each renamed into place, and
the marker COMPLETE: any number of finished parts is a state to resume from. No torch.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from engine.attempt import Attempt, EngineError
from engine.manifest import COMPLETE
from engine.process import BAD_INPUT

_PINNED = "what was decided before"


class Parts:
    """The finished parts of one attempt, those of the attempt it resumes included."""

    def __init__(self, attempt: Attempt, config: Any) -> None:
        """`config` is the whole decoded config.json: results of another one are never reused."""
        self._attempt = attempt
        self._directory = attempt.directory / "parts"
        self._directory.mkdir(exist_ok=True)
        canonical = json.dumps(config, sort_keys=True)
        self._config_hash = hashlib.sha256(canonical.encode()).hexdigest()
        self._found = self._read(attempt.resume) if attempt.resume else {}
        self._count = 0

    def get(self, name: str) -> dict[str, Any] | None:
        """A part's result where the resumed attempt finished it; None where it has to be done."""
        return self._found.get(name)

    def put(self, name: str, result: dict[str, Any]) -> None:
        """Keep a finished part and say so in the events."""
        self._write(name, result)
        (self._directory / COMPLETE).touch()
        self._count += 1
        relative = self._directory.relative_to(self._attempt.job_directory)
        self._attempt.events.saved(step=self._count, path=relative.as_posix())

    @property
    def pinned(self) -> dict[str, Any]:
        """What the resumed attempt had decided before it began; empty where there is none."""
        return self._found.get(_PINNED, {})

    def pin(self, fields: dict[str, Any]) -> None:
        """Keep fields of the config that were left to this machine: an attempt that goes on from
        here, maybe on another machine, does not decide anew."""
        self._write(_PINNED, fields)

    def _write(self, name: str, result: dict[str, Any]) -> None:
        record = {"name": name, "config": self._config_hash, "result": result}
        target = self._directory / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
        temporary = target.with_suffix(".tmp")
        temporary.write_text(json.dumps(record, allow_nan=False), encoding="utf-8")
        temporary.replace(target)

    def _read(self, state: Path) -> dict[str, dict[str, Any]]:
        if not (state / COMPLETE).is_file():
            raise EngineError(
                BAD_INPUT,
                "resume",
                f"{state} holds no finished parts",
                "Name the parts directory of an earlier attempt, or start without --resume.",
            )
        results = {}
        for path in sorted(state.glob("*.json")):
            try:
                record = json.loads(path.read_bytes())
            except ValueError:  # a power cut left it empty or torn: that part is done again
                continue
            if record["config"] != self._config_hash:
                raise EngineError(
                    BAD_INPUT,
                    "resume",
                    "the finished parts were measured with another config.json",
                    "Start without --resume, so that everything is measured alike.",
                )
            results[record["name"]] = record["result"]
        return results
