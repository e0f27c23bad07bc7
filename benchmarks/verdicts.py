"""`make bench-verdicts`: how often the verdict errs, and how often it sees what is there.

Draws pairs of models whose true loss is known and judges them with the rule's formulas (tests hold
the array formulas used here to the answers of `evaluation.judging.verdict`). One JSON object a
line: case, value (a share of the draws, or of the items), must (what it may be at most, or null),
draws, standard_error (Monte-Carlo) and held (value is at most must plus three standard errors, or
null).
Then tables; lines beginning with # are for people. Exits 0 whatever the figures are.

A true loss of L with a share p of items changed means that (p + L) / 2 of the items are lost and
(p - L) / 2 gained; where L is above p, p is raised to L.
"""

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import product
from typing import Any

import numpy as np
from scipy import special

from benchmarks import verdict_draws as draws
from benchmarks.verdict_draws import FORGOTTEN, RETAINED, Counts

ALPHA = 0.05
SEED = 2024
HELLASWAG_ITEMS = 10_042
Row = list[str]


class Report:
    """Writes a JSON line a figure and remembers which limits were not held."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def share(self, case: str, hits: Sequence[bool] | np.ndarray, must: float | None = None) -> str:
        """Write one rate and return it for a table, with a star where its limit is broken."""
        values = np.asarray(hits, dtype=np.float64)
        return self.write(case, float(values.mean()), must, values.size, float(values.std()))

    def write(
        self, case: str, value: float, must: float | None, count: int, deviation: float = 0.0
    ) -> str:
        """Write one figure; `count` is 0 where it was computed exactly, not drawn."""
        error = deviation / math.sqrt(count) if count else 0.0
        slack = 3 * math.sqrt(must * (1 - must) / count) if must is not None and count else 0.0
        held = None if must is None else value <= must + slack
        line: dict[str, Any] = {"case": case, "value": round(value, 5), "must": must}
        line |= {"draws": count, "standard_error": round(error, 5), "held": held}
        sys.stdout.write(json.dumps(line) + "\n")
        if held is False:
            self.broken.append(f"{case}: {value:.4f}")
        return f"{value:.3f}" + ("*" if held is False else "")


def table(heads: Iterable[str], rows: Iterable[Row]) -> None:
    """Write a Markdown table."""
    lines = [list(heads), *rows]
    lines.insert(1, ["--:"] * len(lines[0]))
    sys.stdout.write("\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n\n")


def four_rates(
    report: Report, case: str, at_margin: Counts, none: Counts, two_margins: Counts
) -> Row:
    """(a) margin passes, (b) nothing lost is called forgotten, (c) the two kinds of power."""
    return [
        report.share(f"{case}: loss at the margin retained", at_margin == RETAINED, ALPHA),
        report.share(f"{case}: no loss forgotten", none == FORGOTTEN, ALPHA),
        report.share(f"{case}: no loss retained", none == RETAINED),
        report.share(f"{case}: two margins forgotten", two_margins == FORGOTTEN),
    ]


def one_benchmark(report: Report, rng: np.random.Generator, count: int) -> list[Row]:
    """Independent items and clusters of five, side by side."""
    rows = []
    for n, changed, margin in product((60, 339, 1000, 3000), (0.05, 0.1, 0.2), (0.02, 0.05, 0.1)):
        row = [str(n), f"{changed:g}", f"{margin:g}"]
        for kind, draw in (("items", draws.draw_items), ("clusters", draws.draw_clusters)):
            repeats = 5 * count if kind == "items" else count
            codes = [
                draws.verdicts(
                    draw(rng, repeats, n, [loss], changed),
                    gate_on="each",
                    margin=margin,
                    alpha=ALPHA,
                )
                for loss in (margin, 0.0, 2 * margin)
            ]
            case = f"one benchmark, {kind}, n {n}, changed {changed:g}, margin {margin:g}"
            row += four_rates(report, case, *codes)
        rows.append(row)
    return rows


def many_benchmarks(report: Report, rng: np.random.Generator, count: int) -> list[Row]:
    """Both gates over 1, 5 and 10 benchmarks of n items each; a tenth of the items changes.

    gate each: one benchmark loses, and the others gain five points, so that they cannot save the
    rule from passing it. gate pooled: all lose; last column, only one loses, the others nothing.
    """
    rows = []
    for gate, kind, m, n, margin in product(
        ("each", "pooled"), ("items", "clusters"), (1, 5, 10), (60, 339), (0.02, 0.1)
    ):
        draw = draws.draw_items if kind == "items" else draws.draw_clusters

        def judged(losses: list[float]) -> Counts:
            drawn = draw(rng, count, n, losses, 0.1)  # noqa: B023  called in this round only
            return draws.verdicts(drawn, gate_on=gate, margin=margin, alpha=ALPHA)  # noqa: B023

        def losing(loss: float) -> list[float]:
            return [loss] * m if gate == "pooled" else [loss] + [-0.05] * (m - 1)  # noqa: B023

        case = f"gate {gate}, {kind}, {m} benchmarks, n {n}, margin {margin:g}"
        codes = [judged(losing(margin)), judged([0.0] * m), judged(losing(2 * margin))]
        row = [gate, kind, str(m), str(n), f"{margin:g}", *four_rates(report, case, *codes)]
        alone = judged([2 * margin] + [0.0] * (m - 1))
        row.append(report.share(f"{case}: one of them two margins forgotten", alone == FORGOTTEN))
        rows.append(row)
    return rows


def texts(report: Report, rng: np.random.Generator, count: int) -> list[Row]:
    """Perplexity on one held-out text; three percent are allowed."""
    rows, margin = [], math.log(1.03)
    for documents, spread, shape in product(
        (8, 10, 16, 24, 43, 60), (0.02, 0.05), ("normal", "heavy", "skewed", "extreme")
    ):
        codes = [
            draws.text_verdicts(
                draws.draw_texts(rng, 5 * count, documents, change, spread, shape),
                log_margin=margin,
                alpha=ALPHA,
            )
            for change in (margin, 0.0, 2 * margin)
        ]
        case = f"perplexity, {documents} documents, spread {spread:g}, {shape}"
        rows.append([str(documents), f"{spread:g}", shape, *four_rates(report, case, *codes)])
    return rows


def adaptive(report: Report, rng: np.random.Generator, count: int) -> list[Row]:
    """Mean share of items that adaptive mode takes, and what it says."""
    rows = []
    settings = [(1, *one) for one in product((339, 1000, 3000), (0.1, 0.2), (0.05, 0.1))]
    settings += [(1, HELLASWAG_ITEMS, 0.1, 0.02), (5, 1000, 0.1, 0.05), (5, 3000, 0.1, 0.05)]
    for size, n, changed, margin in settings:
        row = [str(size), str(n), f"{changed:g}", f"{margin:g}"]
        for times in (0.0, 0.5, 1.0, 2.0):
            codes, used = adaptive_draws(rng, count, n, times * margin, changed, margin, size)
            case = f"adaptive, unit {size}, n {n}, changed {changed:g}, margin {margin:g}"
            case += f", loss {times:g} margins"
            share = used / n
            row += [
                report.write(f"{case}: share used", share.mean(), None, count, share.std()),
                report.share(f"{case}: retained", codes == RETAINED, ALPHA if times >= 1 else None),
                report.share(f"{case}: forgotten", codes == FORGOTTEN, None if times else ALPHA),
            ]
        rows.append(row)
    return rows


def adaptive_draws(
    rng: np.random.Generator,
    count: int,
    n: int,
    loss: float,
    changed: float,
    margin: float,
    size: int,
) -> tuple[Counts, Counts]:
    """Outcomes and items used of `count` draws, a few at a time to save memory."""
    parts, batch = [], max(1, 600_000 // n)
    for start in range(0, count, batch):
        rows = min(batch, count - start)
        sums, sizes = draws.draw_units(rng, rows, n, loss, changed, size=size)
        parts.append(draws.adaptive(sums, sizes, margin=margin, alpha=ALPHA))
    codes, used = zip(*parts, strict=True)
    return np.concatenate(codes), np.concatenate(used)


def exact(report: Report) -> list[Row]:
    """The worst chance, over all shares of changed items, that a loss at the margin passes.

    Summed over every possible pair of counts, so free of Monte-Carlo error.
    """
    rows = []
    for n, margin in product((60, 120, 339), (0.02, 0.05, 0.1)):
        lost, gained = (one.ravel() for one in np.indices((n + 1, n + 1)))
        fits = lost + gained <= n
        passes = draws.tango_z(lost[fits], gained[fits], n, margin) < special.ndtri(ALPHA)
        lost, gained = lost[fits][passes], gained[fits][passes]
        ways = special.gammaln(n + 1) - special.gammaln(lost + 1) - special.gammaln(gained + 1)
        same = n - lost - gained
        ways -= special.gammaln(same + 1)
        worst = 0.0
        for changed in np.linspace(margin, 0.5, 60):
            b, c = draws.shares_changed(margin, float(changed))
            chances = special.xlogy(lost, b) + special.xlogy(gained, c)
            chances += special.xlogy(same, 1 - b - c)
            worst = max(worst, float(np.exp(ways + chances).sum()))
        case = f"exact worst case, items, n {n}, margin {margin:g}: loss at the margin retained"
        report.write(case, worst, ALPHA, 0)
        rows.append([str(n), f"{margin:g}", f"{worst:.4f}"])
    return rows


def main() -> None:
    """Run every table."""
    parser = argparse.ArgumentParser(description="How often the verdict errs.")
    parser.add_argument("--draws", type=int, default=4000, help="draws a setting (at least)")
    count = parser.parse_args().draws
    report, rng, start = Report(), np.random.default_rng(SEED), time.perf_counter()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    sys.stdout.write(
        f"# {platform.machine()}, Python {platform.python_version()}, {packages}, seed {SEED}\n"
    )
    rates = ["margin passes", "false alarm", "kept", "caught"]
    singles = one_benchmark(report, rng, count)
    several = many_benchmarks(report, rng, count)
    documents = texts(report, rng, count)
    stopped = adaptive(report, rng, max(2000, count // 2))
    worst = exact(report)
    table(["n", "changed", "margin", *rates, *(f"{one}, clusters" for one in rates)], singles)
    table(["gate", "kind", "benchmarks", "n", "margin", *rates, "one caught"], several)
    table(["documents", "spread", "shape", *rates], documents)
    by_loss = [
        f"{what}, {loss}" for loss in ("0", "½", "1", "2") for what in ("share", "kept", "forgot")
    ]
    table(["unit", "n", "changed", "margin", *by_loss], stopped)
    table(["n", "margin", "margin passes at worst"], worst)
    sys.stdout.write(f"# {len(report.broken)} limits not held (marked *):\n")
    sys.stdout.writelines(f"#   {one}\n" for one in report.broken)
    sys.stdout.write(f"# {time.perf_counter() - start:.0f} seconds\n")


if __name__ == "__main__":
    main()
