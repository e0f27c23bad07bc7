"""`make bench-train`: context-frozen training against TRL's SFTTrainer and against masked labels.

Every measurement is a process of its own: ours is the engine (`python -m training DIR`), the
others are benchmarks/training_baselines.py. They run in turn: ours, trl, masked, then masked, trl,
ours, and so on. Each takes one warm-up step and then the timed ones; seconds are the mean of the
timed steps, from the first forward to behind the optimizer, so loading, checks and saving are not
in them. Peak memory is the whole process's, loading and saving included. The warm-up has rate 0, so
the first timed step begins at the same weights for all three, and its loss must agree
(`loss_difference`).

One JSON object a line, then a table; lines beginning with # are for people. ratio and ratio_memory
are theirs by ours: above 1, ours is better. bound is what counting arithmetic allows (theory: 2N a
token forward, 6N with backward; no logits for context; attention left out). On a GPU the cases are
other ones: a random model of a 1B shape in bfloat16, with tokens a second and the share of the
card's measured matrix rate.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.command import columns, command, options_read
from benchmarks.machine import MODEL, machine_words
from benchmarks.training_cases import CPU_CASES, GPU_CASES, Case, directory_write
from benchmarks.training_children import Measurement, measure
from benchmarks.training_gpu import matrix_rate, random_model
from benchmarks.training_work import Size, flops_of, model_size

PAIRS = 5
KINDS = ("ours", "trl", "masked")
BASELINES = {"trl": "TRL SFTTrainer", "masked": "Trainer, masked labels"}


def rounds(directory: Path, case: Case, pairs: int) -> dict[str, list[Measurement]]:
    """Measure ours and every baseline `pairs` times, in turn."""
    measured: dict[str, list[Measurement]] = {kind: [] for kind in KINDS}
    for number in range(pairs):
        for kind in KINDS if number % 2 == 0 else KINDS[::-1]:
            one = measure(directory, kind)
            measured[kind].append(one)
            sys.stderr.write(
                f"{case.name}, pair {number + 1}, {kind}: "
                f"{one.seconds:.2f} s a step, {one.peak_bytes / 1e9:.2f} GB\n"
            )
    return measured


def line_of(
    case: Case,
    baseline: str,
    measured: dict[str, list[Measurement]],
    size: Size,
    rate: float | None,
) -> dict[str, Any]:
    """The line to print for one case against one baseline."""
    ours, theirs = measured["ours"], measured[baseline]
    ratios = [b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True)]
    memory = [b.peak_bytes / a.peak_bytes for a, b in zip(ours, theirs, strict=True)]
    losses = [abs(b.loss - a.loss) for a, b in zip(ours, theirs, strict=True)]
    flops = [flops_of(case, size, frozen=frozen) for frozen in (True, False)]
    seconds = [statistics.median(one.seconds for one in side) for side in (ours, theirs)]
    line = {
        "case": case.name,
        "baseline": BASELINES[baseline],
        "ratio": round(statistics.median(ratios), 3),
        "ratio_memory": round(statistics.median(memory), 3),
        "must": case.must.get(baseline),
        "must_memory": _rounded(case.must_memory.get(baseline)),
        "pairs": len(ratios),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "bound": round(flops[1] / flops[0], 2),
        "seconds": [round(one, 4) for one in seconds],
        "peak_bytes": [
            round(statistics.median(one.peak_bytes for one in side)) for side in (ours, theirs)
        ],
        "loss": ours[0].loss,
        "loss_difference": max(losses),
    }
    if rate is not None:
        tokens = case.own_context_tokens + case.own_decision_tokens
        line["conversation_tokens_per_second"] = [round(tokens / one) for one in seconds]
        line["matrix_rate_share"] = [
            round(work / one / rate, 4) for work, one in zip(flops, seconds, strict=True)
        ]
    return line


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Write the lines as a plain table."""
    heads = ("case", "against", "ratio", "spread", "must", "bound", "s a step", "peak GB", "memory")
    rows = [heads]
    for line in lines:
        must, must_memory = line["must"], line["must_memory"]
        rows.append(
            (
                line["case"],
                line["baseline"],
                f"{line['ratio']:.2f}",
                "{:.2f}-{:.2f}".format(*line["spread"]),
                "" if must is None else f"{must:g}",
                f"{line['bound']:.1f}",
                "{:.2f} / {:.2f}".format(*line["seconds"]),
                "{:.2f} / {:.2f}".format(*(size / 1e9 for size in line["peak_bytes"])),
                f"{line['ratio_memory']:.2f}"
                + ("" if must_memory is None else f" (must {must_memory:.2f})"),
            )
        )
    return columns(rows)


def _options() -> argparse.Namespace:
    parser = command("Context-frozen training against two baselines.", PAIRS)
    parser.add_argument("--cases", nargs="+", default=[""], help="only cases whose name has this")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return options_read(parser)


def main() -> int:
    """Run all cases; 0 whatever the figures are."""
    options = _options()
    sys.stdout.write(f"# {machine_words('trl')}\n")
    sys.stdout.flush()
    model, rate = options.model.resolve(), None
    cases: Sequence[Case] = CPU_CASES
    if torch.cuda.is_available():
        cases, rate = GPU_CASES, matrix_rate()
        model = random_model(model, MODEL.parent / "random-1b")
        sys.stdout.write(f"# matrix rate measured on this card: {rate / 1e12:.0f} TFLOP/s\n")
    lines = []
    for case in cases:
        if not any(part in case.name for part in options.cases):
            continue
        with tempfile.TemporaryDirectory(prefix="bench-train-") as scratch:
            directory = Path(scratch)
            directory_write(directory, case, model, options.threads)
            measured = rounds(directory, case, options.pairs)
        for baseline in BASELINES:
            lines.append(line_of(case, baseline, measured, model_size(model), rate))
            sys.stdout.write(json.dumps(lines[-1]) + "\n")
            sys.stdout.flush()
    sys.stdout.write(f"# {machine_words('trl')}\n# ours / theirs\n{table(lines)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
