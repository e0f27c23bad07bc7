"""The study's results: one JSON object a line, so that it can be stopped and continued."""

import json
from pathlib import Path
from typing import Any

from benchmarks.study.plan import Setting


class Records:
    """Appends to a file of results, after checking that it is of the same study."""

    def __init__(self, path: Path, study: dict[str, Any]) -> None:
        """study: what decides the results; a file that was begun with another one is refused."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lines = [json.loads(line) for line in _lines(path)]
        if not self._lines:
            self.add({"kind": "study", **study})
        elif self._lines[0] != {"kind": "study", **study}:
            raise SystemExit(f"{path} holds a study of other data or settings: name another --work")

    def add(self, record: dict[str, Any]) -> None:
        """Write one finished result."""
        self._lines.append(record)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The finished runs."""
        return [one for one in self._lines if one["kind"] == "run"]

    @property
    def calibrations(self) -> dict[str, dict[str, Any]]:
        """By method: how long its steps take."""
        return {one["method"]: one for one in self._lines if one["kind"] == "calibration"}

    def has(self, setting: Setting) -> bool:
        """Whether a run is finished."""
        return any(Setting.of(one) == setting for one in self.runs)


def _lines(path: Path) -> list[str]:
    """Whole lines; a torn last one, of a study that was killed, is cut off."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return whole.splitlines()
