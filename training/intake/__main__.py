"""`python -m training.intake DIR`: takes a model in, from a shell or under a supervisor."""

import sys
from typing import Any

from engine.attempt import Attempt, attempt_run
from engine.process import environment_set
from training.config.intake import IntakeConfig


def _work(attempt: Attempt, record: Any) -> None:
    config = IntakeConfig.from_json(record)
    environment_set(hub=config.hub_id is not None)
    from training.intake.run import take_in

    take_in(config, attempt)


def main(arguments: list[str] | None = None) -> int:
    """Run one attempt and return its exit code."""
    return attempt_run("training.intake", _work, arguments)


if __name__ == "__main__":
    sys.exit(main())
