"""`python -m training.export DIR`: writes a GGUF, from a shell or under a supervisor."""

import json
import sys
from typing import Any

from engine.attempt import Attempt, attempt_run
from training.config.export import ExportConfig, example_config


def _work(attempt: Attempt, record: Any) -> None:
    config = ExportConfig.from_json(record)
    from training.export.run import export

    export(config, attempt)


def main(arguments: list[str] | None = None) -> int:
    """Run one attempt and return its exit code; --example-config prints a complete config."""
    if (sys.argv[1:] if arguments is None else arguments) == ["--example-config"]:
        sys.stdout.write(json.dumps(example_config(), indent=2) + "\n")
        return 0
    return attempt_run("training.export", _work, arguments)


if __name__ == "__main__":
    sys.exit(main())
