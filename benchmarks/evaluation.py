"""`make bench-eval`: our evaluation beside the `lm_eval` command line, and a second session's cost.

Every measurement is a process of its own, timed from its start to its end, imports and loading
included: ours is the engine (`python -m evaluation DIR`), theirs `python -m lm_eval run`, on the
same weights, the same task definitions and items, the same batch size, number format, attention
kernel and threads. A candidate is a copy of the base model with a little noise on its matrices.

1. scores: base and candidate on the whole local suite, once: every score, and every item.
2. first evaluation: the base model on part of each benchmark, in pairs; and once on all of it.
3. second session: in a portal of its own, a candidate is measured and judged where neither it nor
   the base model was measured before; then another one, for which the base model's results are
   there. By the portal's own services, from asking to the verdict.

The pairs' order turns round every time. One JSON object a line, then a table; lines beginning with
# are for people. ratio and ratio_memory are theirs by ours: above 1, ours is better. must names the
field of the line that is meant: `identical` has to be true, `first` (our time by theirs) at most
1.05, `second` (the second session by measuring both anew) at most 0.55.
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
from benchmarks.evaluation_portal import Portal, SessionCost, candidate_write
from benchmarks.evaluation_sides import (
    Agreement,
    Answers,
    agreement_of,
    ours,
    tasks_write,
    theirs,
)
from benchmarks.machine import MODEL, machine_words

PAIRS = 3
ITEMS = 20
"""Of each of the five benchmarks, where time is measured in pairs."""
MUST = {"identical": True, "first": 1.05, "second": 0.55}
THEIRS = "lm_eval command line"


@dataclass(kw_only=True)
class Found:
    """What the pairs gave, in the order in which they were measured."""

    ours: list[Child] = field(default_factory=list)
    theirs: list[Child] = field(default_factory=list)
    theirs_candidate: list[Child] = field(default_factory=list)
    both_anew: list[SessionCost] = field(default_factory=list)
    second: list[SessionCost] = field(default_factory=list)
    answers: list[tuple[Answers, Answers]] = field(default_factory=list)


class Bench:
    """The models, the portal, and the folder that all of it lies in."""

    def __init__(self, scratch: Path, model: Path, threads: int) -> None:
        self._scratch, self._model, self._threads = scratch, model, threads
        made = [candidate_write(model, scratch / f"candidate-{n}", seed=n) for n in (1, 2)]
        self._portal = Portal(scratch / "portal", model, made, threads)

    def whole(self) -> list[tuple[Answers, Answers]]:
        """Both sides' answers on the whole suite, for the base model and for a candidate."""
        tasks, names = self._tasks(None)
        models = (self._model, self._portal.candidate_directory(0))
        pairs = []
        for number, model in enumerate(models):
            sides = [self._ours(model, None), self._theirs(model, tasks, names)]
            _say(f"whole suite, model {number + 1}", ours=sides[0], theirs=sides[1])
            pairs.append((sides[0], sides[1]))
        return pairs

    def pairs(self, count: int, limit: int) -> Found:
        """Measure everything `count` times."""
        tasks, names = self._tasks(limit)
        candidate = self._portal.candidate_directory(0)
        found = Found()
        for number in range(count):
            if number % 2 == 0:
                other = self._theirs(self._model, tasks, names)
                own = self._ours(self._model, limit)
            else:
                own = self._ours(self._model, limit)
                other = self._theirs(self._model, tasks, names)
            _say(f"pair {number + 1}", ours=own, theirs=other)
            found.ours.append(own.child)
            found.theirs.append(other.child)
            found.answers.append((own, other))
            if number % 2 == 0:
                found.theirs_candidate.append(self._theirs(candidate, tasks, names).child)
            suite = self._portal.suite(limit, seed=number)
            found.both_anew.append(self._portal.session(suite, 0))
            found.second.append(self._portal.session(suite, 1))
            if number % 2 == 1:
                found.theirs_candidate.append(self._theirs(candidate, tasks, names).child)
            both, second = found.both_anew[-1], found.second[-1]
            sys.stderr.write(
                f"pair {number + 1}: first session {both.seconds:.1f} s for {both.measured} "
                f"models, second {second.seconds:.1f} s for {second.measured}\n"
            )
        return found

    def _tasks(self, limit: int | None) -> tuple[Path, dict[str, str]]:
        directory = self._scratch / f"tasks-{limit or 'all'}"
        return directory, tasks_write(directory, limit)

    def _ours(self, model: Path, limit: int | None) -> Answers:
        return ours(self._scratch / "ours", model, limit, self._threads)

    def _theirs(self, model: Path, tasks: Path, names: dict[str, str]) -> Answers:
        return theirs(self._scratch / "theirs", model, tasks, names, self._threads)


def _say(what: str, **sides: Answers) -> None:
    words = ", ".join(
        f"{name} {one.child.seconds:.1f} s, {one.child.peak_bytes / 1e9:.2f} GB"
        for name, one in sides.items()
    )
    sys.stderr.write(f"{what}: {words}\n")


def scores_line(agreement: Agreement, models: int) -> dict[str, Any]:
    """Whether both sides say the same."""
    return {
        "case": f"scores, {agreement.items // models} items, {models} models",
        "baseline": THEIRS,
        "ratio": None,
        "ratio_memory": None,
        "must": {"identical": MUST["identical"]},
        "pairs": models,
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
    return line


def second_line(
    baseline: str, second: Sequence[SessionCost], both_seconds: Sequence[float]
) -> dict[str, Any]:
    """A second session's measurement beside measuring both models anew."""
    ratios = [b / a.seconds for a, b in zip(second, both_seconds, strict=True)]
    line = _timed("second session", baseline, ratios, "second")
    line["seconds"] = [_median([one.seconds for one in second]), _median(both_seconds)]
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
    rows = [("case", "against", "figure", "must", "ratio", "spread", "s, ours / theirs", "memory")]
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
                f"{line['ratio_memory']:.2f}" if line["ratio_memory"] else "",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def lines_of(found: Found) -> list[dict[str, Any]]:
    """The lines of the timed pairs."""
    items = len(found.answers[0][0].items)
    case = f"first evaluation, {items} items"
    both = [one.seconds for one in found.both_anew]
    alone = [
        a.seconds + b.seconds for a, b in zip(found.theirs, found.theirs_candidate, strict=True)
    ]
    return [
        first_line(case, found.ours, found.theirs),
        second_line("both models anew, ours", found.second, both),
        second_line(f"both models anew, {THEIRS}", found.second, alone),
    ]


def whole_lines(answers: Sequence[tuple[Answers, Answers]]) -> list[dict[str, Any]]:
    """The lines of the whole suite, measured once."""
    own, other = answers[0]
    case = f"first evaluation, all {len(own.items)} items"
    agreement = agreement_of(answers)
    return [first_line(case, [own.child], [other.child]), scores_line(agreement, len(answers))]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Our evaluation beside the lm_eval command line.")
    parser.add_argument("--model", type=Path, default=MODEL, help="a Hugging Face directory")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="measurements of each, in turn")
    parser.add_argument("--items", type=int, default=ITEMS, help="of each benchmark, where timed")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--skip-whole", action="store_true", help="leave the whole suite out")
    options = parser.parse_args()
    if not options.model.is_dir():
        parser.error(f"{options.model} is missing: `make run` unpacks it once, or name another")
    return options


def _written(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for line in lines:
        sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    return lines


def main() -> int:
    """Measure everything; 0 whatever the figures are."""
    options = _options()
    logging.disable(logging.WARNING)  # of Redis, which is not there on purpose
    sys.stdout.write(f"# {machine_words('lm-eval')}\n")
    sys.stdout.flush()
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-eval-") as scratch:
        bench = Bench(Path(scratch), options.model.resolve(), options.threads)
        found = bench.pairs(options.pairs, options.items)
        lines += _written(lines_of(found))
        if options.skip_whole:
            lines += _written([scores_line(agreement_of(found.answers[:1]), 1)])
        else:
            lines += _written(whole_lines(bench.whole()))
    sys.stdout.write(f"# {machine_words('lm-eval')}\n# ours / theirs\n{table(lines)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
