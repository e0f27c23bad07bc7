"""`make bench-eval`: our evaluation beside the `lm_eval` command line, and a second session's cost.

Every measurement is a process of its own, timed from its start to its end, imports and loading
included: ours is the engine (`python -m evaluation DIR`), theirs `python -m lm_eval run`, on the
same weights, the same task definitions and items, the same batch size, number format, attention
kernel and threads. A candidate is a copy of the base model with a little noise on its matrices.

1. scores: every score and every item of the local suite, for the base model in every pair and for
   a candidate once.
2. first evaluation: the base model.
3. second session: in a portal of its own, a candidate is measured and judged where neither it nor
   the base model was measured before; then another one, for which the base model's results are
   there. By the portal's own services, from asking to the verdict.

The pairs' order turns round every time. One JSON object a line, then a table; lines beginning with
# are for people. ratio and ratio_memory are theirs by ours: above 1, ours is better. must names the
field of the line that is meant: `identical` has to be true, `first` (our time by theirs) at most
1.05, `second` (the second session by measuring both again) at most 0.55.
"""

import argparse
import json
import logging
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.children import Child
from benchmarks.command import columns, command, options_read
from benchmarks.evaluation_portal import Portal, SessionCost, candidate_write
from benchmarks.evaluation_sides import (
    Agreement,
    Answers,
    agreement_of,
    ours,
    tasks_write,
    theirs,
)
from benchmarks.machine import machine_words

PAIRS = 3
MUST = {"identical": True, "first": 1.05, "second": 0.55}
THEIRS = "lm_eval command line"


@dataclass(kw_only=True)
class Found:
    """What the pairs gave, in the order in which they were measured."""

    ours: list[Answers] = field(default_factory=list)
    theirs: list[Answers] = field(default_factory=list)
    ours_candidate: list[Answers] = field(default_factory=list)
    theirs_candidate: list[Answers] = field(default_factory=list)
    both_again: list[SessionCost] = field(default_factory=list)
    second: list[SessionCost] = field(default_factory=list)


class Bench:
    """The models, the portal, and the folder that all of it lies in."""

    def __init__(self, scratch: Path, model: Path, threads: int) -> None:
        self._scratch, self._model, self._threads = scratch, model, threads
        self._names: dict[str, str] = {}
        made = [candidate_write(model, scratch / f"candidate-{n}", seed=n) for n in (1, 2)]
        self._portal = Portal(scratch / "portal", model, made, threads)

    def pairs(self, count: int, limit: int | None) -> Found:
        """Measure everything `count` times, the sides in turn."""
        figures = Found()
        for number in range(count):
            for part in (self._lm_eval, self._engine)[:: 1 if number % 2 == 0 else -1]:
                part(figures, limit)
            self._sessions(figures, self._portal.suite(limit, seed=number))
            _say(number + 1, figures)
        return figures

    def _lm_eval(self, figures: Found, limit: int | None) -> None:
        """The command line on the base model and on a candidate."""
        tasks = self._scratch / "tasks"
        if not self._names:
            self._names = tasks_write(tasks, limit)
        candidate = self._portal.candidate_directory(0)
        for model, side in ((self._model, figures.theirs), (candidate, figures.theirs_candidate)):
            directory = self._scratch / "theirs"
            side.append(theirs(directory, model, tasks, self._names, self._threads))

    def _engine(self, figures: Found, limit: int | None) -> None:
        """The engine on the base model; on the candidate once, for its scores."""
        directory = self._scratch / "ours"
        figures.ours.append(ours(directory, self._model, limit, self._threads))
        if not figures.ours_candidate:
            candidate = self._portal.candidate_directory(0)
            figures.ours_candidate.append(ours(directory, candidate, limit, self._threads))

    def _sessions(self, figures: Found, suite: Any) -> None:
        figures.both_again.append(self._portal.session(suite, 0))
        figures.second.append(self._portal.session(suite, 1))


def _say(number: int, figures: Found) -> None:
    both, second = figures.both_again[-1], figures.second[-1]
    sys.stderr.write(
        f"pair {number}: ours {figures.ours[-1].child.seconds:.1f} s, "
        f"theirs {figures.theirs[-1].child.seconds:.1f} s; "
        f"first session {both.seconds:.1f} s for {both.measured} models, "
        f"second {second.seconds:.1f} s for {second.measured}\n"
    )


def scores_line(agreement: Agreement, measured: int) -> dict[str, Any]:
    """Whether both sides say the same, over `measured` evaluations."""
    return {
        "case": f"scores, {agreement.items // measured} items",
        "baseline": THEIRS,
        "ratio": None,
        "ratio_memory": None,
        "must": {"identical": MUST["identical"]},
        "pairs": measured,
        "spread": None,
        "identical": agreement.identical,
        "different_items": agreement.different_items,
        "nats_difference": agreement.nats_difference,
        "closest_nats": agreement.closest_nats,
    }


def first_line(case: str, own: Sequence[Child], other: Sequence[Child]) -> dict[str, Any]:
    """Our time and memory for one model beside theirs."""
    ratios = [b.seconds / a.seconds for a, b in zip(own, other, strict=True)]
    memory = [b.peak_bytes / a.peak_bytes for a, b in zip(own, other, strict=True)]
    line = _timed(case, THEIRS, ratios, "first")
    line["ratio_memory"] = round(statistics.median(memory), 3)
    line["seconds"] = [_median([one.seconds for one in side]) for side in (own, other)]
    line["cpu_seconds"] = [_median([one.cpu_seconds for one in side]) for side in (own, other)]
    return line


def second_line(
    baseline: str, second: Sequence[SessionCost], both: Sequence[Child | SessionCost]
) -> dict[str, Any]:
    """A second session's measurement beside measuring both models again."""
    ratios = [b.seconds / a.seconds for a, b in zip(second, both, strict=True)]
    line = _timed("second session", baseline, ratios, "second")
    line["seconds"] = [_median([one.seconds for one in side]) for side in (second, both)]
    line["cpu_seconds"] = [_median([one.cpu_seconds for one in side]) for side in (second, both)]
    line["models_measured"] = second[0].measured
    return line


def _timed(case: str, baseline: str, ratios: Sequence[float], name: str) -> dict[str, Any]:
    return {
        "case": case,
        "baseline": baseline,
        "ratio": round(statistics.median(ratios), 3),
        "ratio_memory": None,
        "must": {name: MUST[name]},
        "pairs": len(ratios),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        name: round(statistics.median(1 / one for one in ratios), 3),
    }


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 2)


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Write the lines as a plain table."""
    rows = [
        (
            "case",
            "against",
            "figure",
            "must",
            "ratio",
            "spread",
            "s, ours / theirs",
            "CPU s",
            "memory",
        )
    ]
    for line in lines:
        ((name, must),) = line["must"].items()
        timed = line["spread"] is not None
        rows.append(
            (
                line["case"],
                line["baseline"],
                f"{name} {line[name]}",
                str(must) if name == "identical" else f"<= {must}",
                f"{line['ratio']:.2f}" if timed else "",
                "{:.2f}-{:.2f}".format(*line["spread"]) if timed else "",
                "{:.1f} / {:.1f}".format(*line["seconds"]) if timed else "",
                "{:.1f} / {:.1f}".format(*line["cpu_seconds"]) if timed else "",
                f"{line['ratio_memory']:.2f}" if line["ratio_memory"] else "",
            )
        )
    return columns(rows)


def lines_of(figures: Found) -> list[dict[str, Any]]:
    """The lines of all that was measured."""
    base = list(zip(figures.ours, figures.theirs, strict=True))
    agreement = agreement_of([*base, (figures.ours_candidate[0], figures.theirs_candidate[0])])
    own, other, candidate = (
        [one.child for one in side]
        for side in (figures.ours, figures.theirs, figures.theirs_candidate)
    )
    again = [_together(one, two) for one, two in zip(other, candidate, strict=True)]
    return [
        scores_line(agreement, len(base) + 1),
        first_line(f"first evaluation, {len(figures.ours[0].items)} items", own, other),
        second_line("both again, ours", figures.second, figures.both_again),
        second_line(f"both again, {THEIRS}", figures.second, again),
    ]


def _together(one: Child, two: Child) -> Child:
    """Two processes one after the other."""
    return Child(
        output="",
        seconds=one.seconds + two.seconds,
        cpu_seconds=one.cpu_seconds + two.cpu_seconds,
        peak_bytes=max(one.peak_bytes, two.peak_bytes),
    )


def _options() -> argparse.Namespace:
    parser = command("Our evaluation beside the lm_eval command line.", PAIRS)
    parser.add_argument("--items", type=int, help="of each benchmark; all by default")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return options_read(parser)


def main() -> int:
    """Measure everything; 0 whatever the figures are."""
    options = _options()
    logging.disable(logging.WARNING)  # of Redis, which is not there on purpose
    sys.stdout.write(f"# {machine_words('lm-eval')}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="bench-eval-") as scratch:
        bench = Bench(Path(scratch), options.model.resolve(), options.threads)
        lines = lines_of(bench.pairs(options.pairs, options.items))
    for line in lines:
        sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.write(f"# {machine_words('lm-eval')}\n# ours / theirs\n{table(lines)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
