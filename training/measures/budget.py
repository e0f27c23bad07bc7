"""Keeps a diagnostic cheap: a measurement that takes long is taken seldom. No torch here."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 0.05
"""Of the session's time, what one diagnostic may take."""
RANK_SECONDS_MIN = 4.0
"""So much is spent on the ranks of the shortest session too: SmolLM2-135M's 211 matrices take about
as long."""


class Budget:
    """Says when one diagnostic may be measured, so that it takes at most a share of the time.

    After a measurement that took t seconds the next one waits t ÷ share seconds. What has never
    been measured is due at once, unless the caller knows beforehand that it does not pay.
    """

    def __init__(
        self,
        *,
        every_steps: int = 1,
        share: float = SHARE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """every_steps: measured after the first step and then after multiples of this only."""
        self.every_steps = every_steps
        self.share = share
        self.count = 0
        """Measurements so far, in this process."""
        self.seconds = 0.0
        """What they took."""
        self._clock = clock
        self._next = -float("inf")

    def due(
        self,
        step: int,
        *,
        expected_seconds: float | None = None,
        session_seconds: float | None = None,
    ) -> bool:
        """Whether to measure after this step.

        expected_seconds, session_seconds: what a measurement and the whole session are thought to
        take. Where both are known, a measurement larger than the share of the session never is due.
        """
        if step != 1 and step % self.every_steps:
            return False
        if expected_seconds is not None and session_seconds is not None:
            planned = self.seconds + expected_seconds
            if planned > self.share * session_seconds:
                return False
        return self._clock() >= self._next

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Take the time of one measurement."""
        started = self._clock()
        try:
            yield
        finally:
            finished = self._clock()
            self.count += 1
            self.seconds += finished - started
            self._next = finished + (finished - started) / self.share
