"""`python -m training.blend DIR`: blends two checkpoints, from a shell or under a supervisor."""

import json
import sys
from typing import Any

from engine.attempt import Attempt, attempt_run
from engine.process import environment_set
from training.config.blend import BlendConfig, example_config


def _work(attempt: Attempt, record: Any) -> None:
    config = BlendConfig.from_json(record)
    environment_set()
    from training.blend.run import blend

    blend(config, attempt)


def main(arguments: list[str] | None = None) -> int:
    """Run one attempt and return its exit code; --example-config prints a complete config."""
    if (sys.argv[1:] if arguments is None else arguments) == ["--example-config"]:
        sys.stdout.write(json.dumps(example_config(), indent=2) + "\n")
        return 0
    return attempt_run("training.blend", _work, arguments)


if __name__ == "__main__":
    sys.exit(main())
