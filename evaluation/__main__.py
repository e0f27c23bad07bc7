"""`python -m evaluation EVAL_DIR`: run one evaluation as a process."""

import sys

from evaluation.engine import work
from training.engine import attempt_run
from training.packages import packages_hide

if __name__ == "__main__":
    packages_hide(("bitsandbytes",))  # lm-eval does need datasets
    sys.exit(attempt_run("evaluation", work))
