"""How far a measurement is, over all its parts, and how long the rest will take. No torch."""

from __future__ import annotations

import time
from collections.abc import Mapping

from engine.attempt import Attempt

SHOW_EVERY_SECONDS = 0.5


class Progress:
    """Counts done work of several parts (benchmarks, texts) and writes progress events.

    A part has items, which are shown, and a cost in tokens, from which the time left is told: an
    item of one benchmark may take ten times as long as one of another.
    """

    def __init__(self, attempt: Attempt, *, unit: str, parts: Mapping[str, tuple[int, float]]):
        """`parts`: name -> (items, cost in tokens), in the order of the work."""
        self._attempt = attempt
        self._unit = unit
        self._parts = dict(parts)
        self._total_items = sum(items for items, _ in parts.values())
        self._total_cost = sum(cost for _, cost in parts.values())
        self._finished: set[str] = set()
        self._saved_cost = 0.0
        self._started = self._shown = time.monotonic()

    def skip(self, part: str) -> None:
        """A part whose result an earlier attempt left: done without having taken time."""
        self._finished.add(part)
        self._saved_cost += self._parts[part][1]

    def advance(self, part: str, share: float) -> None:
        """Say that `share` (0 to 1) of a part is done; stops here when SIGTERM has come."""
        self._attempt.check_stop()
        if time.monotonic() - self._shown >= SHOW_EVERY_SECONDS:
            self._show(part, min(1.0, max(0.0, share)))

    def finish(self, part: str, note: str = "") -> None:
        """Say that a part is done, and what there is to say of how it ended."""
        self._finished.add(part)
        self._show(part, 1.0, note)
        self._attempt.check_stop()

    def _show(self, part: str, share: float, note: str = "") -> None:
        self._shown = time.monotonic()
        items = cost = 0.0
        for name, (part_items, part_cost) in self._parts.items():
            done = 1.0 if name in self._finished else share if name == part else 0.0
            items += done * part_items
            cost += done * part_cost
        worked = cost - self._saved_cost
        seconds = self._shown - self._started
        left = seconds * (self._total_cost - cost) / worked if worked > 0 else None
        self._attempt.events.progress(
            done=int(items),
            total=self._total_items,
            unit=self._unit,
            phase=f"{part}: {note}" if note else part,
            seconds_left=left,
        )
