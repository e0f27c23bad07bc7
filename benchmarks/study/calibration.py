"""How much longer a full-gradient step takes than a frozen one, measured in turn.

For each method the engine runs with frozen context and with the full gradient alternately, over the
same examples. The ratio is the median over the pairs of frozen by full tokens a second, as the
engine reports them over its whole session. Other work on the machine slows both.
"""

import statistics
from pathlib import Path
from typing import Any

from benchmarks.study.engine import engine_run, run_config
from benchmarks.study.plan import FROZEN, FULL, RATES, Setting
from training.config import BatchConfig

PAIRS = 3
STEPS = 10


def calibrate(
    method: str, *, directory: Path, model: Path, batches: list[BatchConfig], max_tokens: int
) -> dict[str, Any]:
    """Return one method's record: tokens a second of every run, and the ratio of times."""
    speeds: dict[str, list[float]] = {FROZEN: [], FULL: []}
    for pair in range(PAIRS):
        for gradient in (FROZEN, FULL) if pair % 2 == 0 else (FULL, FROZEN):
            setting = Setting(method=method, rate=RATES[method][0], gradient=gradient, seed=0)
            config = run_config(
                setting, model=model, batches=batches, steps=STEPS, max_tokens=max_tokens
            )
            outcome = engine_run(directory, config)
            speeds[gradient].append(outcome["summary"]["tokens_per_second"])
    pairs = zip(speeds[FROZEN], speeds[FULL], strict=True)
    return {
        "kind": "calibration",
        "method": method,
        "frozen_tokens_per_second": speeds[FROZEN],
        "full_tokens_per_second": speeds[FULL],
        "ratio": statistics.median(frozen / full for frozen, full in pairs),
    }
