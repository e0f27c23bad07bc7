"""Engines as child processes of a test."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.training.toys import events_of


class Child:
    """An engine process and its events as they come."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "training", str(directory), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def wait_for(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for event in events_of(self.directory):
                if condition(event):
                    return event
            assert self.process.poll() is None, self.process.communicate()[1].decode()
            time.sleep(0.01)
        raise AssertionError("the event did not come")
