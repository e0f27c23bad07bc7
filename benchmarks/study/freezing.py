"""`make study-freezing`: what does freezing the context cost, and what foretells lost perplexity?

Trains SmolLM2 with four methods at two rates each, three seeds, and three gradients: frozen
context, the full gradient over as many examples, and the full gradient for as long a time. Every
run is the training engine in a child of its own; every result is one line of WORK/runs.jsonl, so
the study can be stopped with Ctrl-C and goes on where it was. Tables and plot come last (or at
once with --report-only) and go to --report and the SVG beside it.
"""

import argparse
import json
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.command import command, options_read
from benchmarks.machine import ROOT, machine_words
from benchmarks.study.calibration import calibrate
from benchmarks.study.data import HELD_OUT_ONE_IN, StudyData, data_read
from benchmarks.study.engine import engine_run, run_config
from benchmarks.study.measures import Measures
from benchmarks.study.plan import FULL_SHORT, RATES, SEEDS, STEPS, settings, steps_in_time
from benchmarks.study.plot import plot
from benchmarks.study.records import Records
from benchmarks.study.report import (
    OUTCOME,
    PREDICTORS,
    cells_table,
    freezing_table,
    predictors_table,
    report_write,
    within_table,
)

BATCHES = [ROOT / "examples" / name for name in ("support-agent.jsonl", "formal-answers.jsonl")]
HEADING = "What freezing the context costs"


def _options() -> argparse.Namespace:
    parser = command("What does freezing cost?")
    parser.add_argument("--batches", type=Path, nargs="+", default=BATCHES, help="batch files")
    parser.add_argument("--max-tokens", type=int, default=256, help="longer examples are left out")
    parser.add_argument("--steps", type=int, default=STEPS, help="of every run")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="only these")
    parser.add_argument("--methods", nargs="+", default=list(RATES), choices=list(RATES))
    parser.add_argument("--work", type=Path, default=ROOT / "var/study-freezing")
    parser.add_argument("--report", type=Path, default=ROOT / "docs/results/freezing.md")
    parser.add_argument("--report-only", action="store_true", help="write from what is finished")
    options = options_read(parser)
    options.model, options.work = options.model.resolve(), options.work.resolve()
    return options


def _study(options: argparse.Namespace, data: StudyData, records: Records) -> None:
    """Run what is not finished yet."""
    common = {"model": options.model, "batches": data.batches, "max_tokens": options.max_tokens}
    scratch = options.work / "run"
    measures = Measures(options.model, data)
    wanted = [
        one for one in settings() if one.seed in options.seeds and one.method in options.methods
    ]
    for number, setting in enumerate(wanted, start=1):
        if records.has(setting):
            continue
        started = time.monotonic()
        steps = options.steps
        if setting.gradient == FULL_SHORT:
            steps = steps_in_time(steps, _speed_ratio(setting.method, records, scratch, common))
        outcome = engine_run(scratch, run_config(setting, steps=steps, **common))
        figures = _engine_figures(outcome) | measures.measure(outcome["output"])
        records.add({"kind": "run", **setting.to_json(), "steps": steps, **figures})
        _say(
            f"{number} of {len(wanted)}: {setting.method} {setting.rate:g}, {setting.gradient}, "
            f"seed {setting.seed}: learned {figures['learned_nats']:.3f}, "
            f"lost {figures[OUTCOME]:.4f} nats, {time.monotonic() - started:.0f} s"
        )
    shutil.rmtree(scratch, ignore_errors=True)


def _speed_ratio(method: str, records: Records, scratch: Path, common: dict[str, Any]) -> float:
    """How long a full step of a method takes by a frozen one; measured once a study."""
    if method not in records.calibrations:
        record = calibrate(method, directory=scratch, **common)
        records.add(record)
        _say(f"{method}: a full step takes {record['ratio']:.2f} times as long as a frozen one")
    return float(records.calibrations[method]["ratio"])


def _engine_figures(outcome: dict[str, Any]) -> dict[str, Any]:
    """What the engine measured itself; sharpness is the mean of the steps it sampled."""
    summary = outcome["summary"]
    sampled = [one["sharpness"] for one in outcome["metrics"] if one.get("sharpness") is not None]
    return {
        "displacement": summary["displacement"],
        "entropy_rank": summary["entropy_rank"],
        "rank_90": summary["rank_90"],
        "matrices_measured": summary["rank_matrices_measured"],
        "sharpness": sum(sampled) / len(sampled) if sampled else None,
        "sharpness_samples": len(sampled),
        "decision_tokens": summary["decision_tokens"],
        "context_tokens": summary["context_tokens"],
        "seconds": summary["seconds"],
    }


def _report(options: argparse.Namespace, data: StudyData, records: Records) -> None:
    runs, picture = records.runs, options.report.with_suffix(".svg")
    names = ", ".join(path.name for path in options.batches)
    ratios = ", ".join(f"{k} {v['ratio']:.2f}" for k, v in records.calibrations.items())
    setup = (
        f"Machine: {machine_words('peft')}.\n\n"
        f"{len(runs)} runs of {options.steps} steps of one example, AdamW, APOLLO, APOLLO-Mini or "
        f"LoRA, float32, constant rate. Batches: {names}; one example in {HELD_OUT_ONE_IN} held "
        f"out ({len(data.held_out)}). General text: {len(data.prose)} documents of Python's "
        f"documentation, {len(data.code)} of its source. Time of a full-gradient step by that of "
        f"a frozen one, measured in turn: {ratios}."
    )
    sections = [
        setup,
        "## Frozen minus full gradient\n\nMedian over the seeds (lowest to highest).",
        freezing_table(runs),
        "## All cells\n\nMedians over the seeds.",
        cells_table(runs),
        "## What goes with the loss of perplexity",
        predictors_table(runs),
        "Within each method:",
        within_table(runs),
        f"![Loss of perplexity against each predictor]({picture.name})",
    ]
    report_write(options.report, HEADING, sections)
    picture.write_text(plot(runs, PREDICTORS, OUTCOME, "perplexity lost, nats"), encoding="utf-8")
    _say(f"Written: {options.report} and {picture}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run the study, or only write what is finished."""
    options = _options()
    data = data_read(options.batches, options.work / "data", options.model, options.max_tokens)
    study = {
        "data": data.fingerprint,
        "steps": options.steps,
        "model": options.model.name,
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }
    records = Records(options.work / "runs.jsonl", json.loads(json.dumps(study)))
    if not options.report_only:
        _study(options, data, records)
    _report(options, data, records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
