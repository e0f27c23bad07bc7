"""The study's tables, in Markdown, below whatever people wrote above them."""

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.study.plan import FROZEN, FULL, FULL_SHORT, GRADIENTS, RATES
from benchmarks.study.statistics import correlations, spearman

Runs = Sequence[dict[str, Any]]
MARKER = "<!-- Below this line `make study-freezing` writes. -->"
OUTCOME = "lost_nats"
PREDICTORS = {
    "displacement": "displacement",
    "entropy_rank": "effective rank of the change",
    "sharpness": "sharpness along the update",
    "kl_decision_nats": "forward KL on decisions, nats",
    "kl_prompt_nats": "forward KL on prompts, nats",
    "learned_nats": "loss learned on the held-out slice, nats",
}
"""Fields of a run that might go with the loss of perplexity; the last one for comparison."""


def report_write(path: Path, heading: str, sections: Sequence[str]) -> None:
    """Replace what stands below the marker; keep what stands above it."""
    above = path.read_text(encoding="utf-8") if path.is_file() else f"# {heading}\n\n{MARKER}\n"
    kept = above.split(MARKER)[0]
    text = "\n\n".join([f"{kept}{MARKER}", *sections])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def cells_table(runs: Runs) -> str:
    """Medians over the seeds, a row for each method, rate and gradient."""
    heads = (
        *("method", "rate", "gradient", "seeds", "steps", "learned, nats"),
        *("prose lost, %", "code lost, %", "displacement", "effective rank", "sharpness"),
        *("KL decisions", "KL prompts"),
    )
    rows = []
    for method, rates in RATES.items():
        for rate in rates:
            for gradient in GRADIENTS:
                chosen = _chosen(runs, method=method, rate=rate, gradient=gradient)
                if chosen:
                    rows.append([method, f"{rate:g}", gradient, str(len(chosen)), *_cells(chosen)])
    return table(heads, rows)


def _cells(chosen: Runs) -> list[str]:
    def show(name: str, digits: int, turn: Callable[[float], float] = float) -> str:
        values = [turn(run[name]) for run in chosen if run[name] is not None]
        return f"{statistics.median(values):.{digits}g}" if values else "not measured"

    return [
        show("steps", 3),
        show("learned_nats", 3),
        show("lost_prose_nats", 2, _percent),
        show("lost_code_nats", 2, _percent),
        show("displacement", 3),
        show("entropy_rank", 3),
        show("sharpness", 3),
        show("kl_decision_nats", 2),
        show("kl_prompt_nats", 2),
    ]


def _percent(nats: float) -> float:
    return 100.0 * math.expm1(nats)


def freezing_table(runs: Runs) -> str:
    """Frozen minus full, seed by seed: median, and lowest to highest."""
    heads = (
        *("method", "rate", "against full gradient at", "seeds", "learned, nats"),
        *("perplexity lost, %", "displacement", "effective rank"),
    )
    rows = []
    for method, rates in RATES.items():
        for rate in rates:
            for gradient, words in ((FULL, "equal examples"), (FULL_SHORT, "equal time")):
                pairs = _pairs(runs, method, rate, gradient)
                if pairs:
                    row = [method, f"{rate:g}", words, str(len(pairs))]
                    row.append(_difference(pairs, "learned_nats", 3))
                    row.append(_difference(pairs, OUTCOME, 2, _percent))
                    row.append(_difference(pairs, "displacement", 3))
                    row.append(_difference(pairs, "entropy_rank", 1))
                    rows.append(row)
    return table(heads, rows)


def _pairs(runs: Runs, method: str, rate: float, gradient: str) -> list[tuple[Any, Any]]:
    """(frozen, other) of every seed that both finished."""
    frozen = {run["seed"]: run for run in _chosen(runs, method=method, rate=rate, gradient=FROZEN)}
    others = _chosen(runs, method=method, rate=rate, gradient=gradient)
    return [(frozen[one["seed"]], one) for one in others if one["seed"] in frozen]


def _difference(
    pairs: list[tuple[Any, Any]],
    name: str,
    digits: int,
    turn: Callable[[float], float] = float,
) -> str:
    known = [(a[name], b[name]) for a, b in pairs if None not in (a[name], b[name])]
    if not known:
        return "not measured"
    values = [turn(a) - turn(b) for a, b in known]
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def predictors_table(runs: Runs) -> str:
    """Rank correlation of every predictor with the loss of perplexity, over all runs."""
    known = [run for run in runs if all(run[name] is not None for name in PREDICTORS)]
    cells = [(run["method"], run["rate"], run["gradient"]) for run in known]
    if len(set(cells)) < 4:
        return f"Only {len(known)} runs: no correlation."
    figures = correlations(
        {name: np.array([run[name] for run in known]) for name in PREDICTORS},
        np.array([run[OUTCOME] for run in known]),
        cells,
    )
    rows = [
        [
            words,
            f"{figures[name].value:+.2f}",
            "{:+.2f} to {:+.2f}".format(*figures[name].over_runs),
            "{:+.2f} to {:+.2f}".format(*figures[name].over_cells),
            f"{100 * figures[name].first_share:.0f} %",
        ]
        for name, words in PREDICTORS.items()
    ]
    heads = ("predictor", "rank correlation", "95 % over runs", "95 % over cells", "highest in")
    counted = f"{len(known)} runs in {len(set(cells))} cells of method, rate and gradient."
    return f"{counted}\n\n{table(heads, rows)}"


def within_table(runs: Runs) -> str:
    """The same correlations inside each method."""
    rows = []
    for method in RATES:
        chosen = _chosen(runs, method=method)
        if len({(run["rate"], run["gradient"]) for run in chosen}) < 4:
            continue
        row = [method, str(len(chosen))]
        for name in PREDICTORS:
            known = [run for run in chosen if run[name] is not None]
            values = np.array([[run[name], run[OUTCOME]] for run in known], dtype=float)
            row.append(f"{spearman(values[:, 0], values[:, 1]):+.2f}" if len(known) > 3 else "")
        rows.append(row)
    return table(("method", "runs", *PREDICTORS.values()), rows)


def _chosen(runs: Runs, **fields: Any) -> list[dict[str, Any]]:
    return [run for run in runs if all(run[name] == value for name, value in fields.items())]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [list(heads), ["---"] * len(heads), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
