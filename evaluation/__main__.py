"""`python -m evaluation EVAL_DIR`: run one evaluation as a process."""

import sys

from engine.attempt import attempt_run
from engine.commented import Layout, commented
from engine.packages import packages_hide
from evaluation import config as settings
from evaluation.config.example import example_config

LAYOUT = Layout(
    constants=settings,
    lists={"benchmarks": settings.BenchmarkConfig, "held_out": settings.HeldOutConfig},
)
"""How the example config is laid out."""


def main(arguments: list[str] | None = None) -> int:
    """Run one attempt and return its exit code.

    --example-config prints a complete measurement, each field with what it means as a // comment;
    the engine reads it with them.
    """
    if (sys.argv[1:] if arguments is None else arguments) == ["--example-config"]:
        text = commented(settings.MeasureConfig, example_config(), LAYOUT)
        sys.stdout.write(text + "\n")
        return 0
    from evaluation.engine import work

    return attempt_run("evaluation", work, arguments)


if __name__ == "__main__":
    packages_hide(("bitsandbytes",))  # lm-eval does need datasets
    sys.exit(main())
