"""`python -m evaluation EVAL_DIR`: run one evaluation as a process."""

import sys

from evaluation.engine import work
from training.engine import attempt_run

if __name__ == "__main__":
    sys.exit(attempt_run("evaluation", work))
