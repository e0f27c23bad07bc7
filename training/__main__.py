"""`python -m training RUN_DIR`: the training engine, from a shell or under a supervisor."""

import sys
from typing import Any

from engine.attempt import Attempt, attempt_run
from engine.commented import Layout, commented
from engine.packages import packages_hide
from engine.process import environment_set
from training import config as settings
from training.config import BatchConfig, ProbeConfig, RunConfig, example_config
from training.ranks.launch import foreign_launcher_refuse, process_count, ranks_run

LAYOUT = Layout(
    constants=settings,
    groups=settings.GROUPS,
    lists={"batches": BatchConfig, "probes": ProbeConfig},
)
"""How the example config is laid out."""


def _work(attempt: Attempt, record: Any) -> None:
    config = RunConfig.from_json(record)
    environment_set()
    foreign_launcher_refuse()
    if config.ranks.processes != 1 and (count := process_count(config)) > 1:
        ranks_run(attempt, config, count)
        return
    from training.run import run

    run(config, attempt)


def main(arguments: list[str] | None = None) -> int:
    """Run one attempt and return its exit code.

    --example-config prints a complete config, each field with what it means as a // comment; the
    engine reads it with them.
    """
    if (sys.argv[1:] if arguments is None else arguments) == ["--example-config"]:
        sys.stdout.write(commented(RunConfig, example_config(), LAYOUT) + "\n")
        return 0
    return attempt_run("training", _work, arguments)


if __name__ == "__main__":
    packages_hide()
    sys.exit(main())
