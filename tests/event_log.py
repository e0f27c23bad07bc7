"""The event log as the file holds it: what tests of the engines compare, without the reader."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any


def logged_events(path: Path) -> list[dict[str, Any]]:
    """Every line of an events.jsonl, decoded; none while there is no file.

    Half a line is left out: its writer is at work, or a test has killed it.
    """
    events = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        with suppress(ValueError):
            events.append(json.loads(line))
    return events
