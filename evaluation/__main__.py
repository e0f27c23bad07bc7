"""`python -m evaluation EVAL_DIR`: run one evaluation as a process."""

import sys

from engine.attempt import attempt_run
from engine.packages import packages_hide
from evaluation.engine import work

if __name__ == "__main__":
    packages_hide(("bitsandbytes",))  # lm-eval does need datasets
    sys.exit(attempt_run("evaluation", work))
