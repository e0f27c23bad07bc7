"""`make gpu-check`: what only a machine with a CUDA card can show, in under eight minutes.

    python -m benchmarks.gpu_check [--write docs/results/gpu.md]

Three parts, one after the other, each with a time of its own after which it is ended: the tests
marked `gpu`, the GPU cases of `make bench-train` (one round of each), and `make bench-apollo`. No
network. What a part says goes into the page as it is; a part that failed or ran out of time is
named there, and the exit status is 1. Without a card nothing is run and nothing written: 2.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.command import markdown_table
from benchmarks.machine import MODEL, ROOT, machine_words

PAGE = ROOT / "docs/results/gpu.md"
TESTS = (
    "tests/training/test_plain.py",
    "tests/training/test_devices.py",
    "tests/training/quantised/test_layers.py",
    "tests/training/quantised/test_base.py",
    "tests/evaluation/test_devices.py",
)
"""The files that have tests marked `gpu`."""
NO_CARD = 2
_TAIL_LINES = 30


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that is run, and how long it may take."""

    title: str
    arguments: tuple[str, ...]
    """Of this Python."""
    seconds: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a part."""

    part: Part
    output: str
    """Standard output and error."""
    status: int | None
    """None: it ran out of time."""
    seconds: float

    @property
    def words(self) -> str:
        """How it ended."""
        if self.status is None:
            return f"ended after its {self.part.seconds} s, before it was done"
        return "done" if self.status == 0 else f"failed (exit status {self.status})"


@dataclass(frozen=True, kw_only=True)
class Tests:
    """What pytest's own record says."""

    rows: list[list[str]]
    """Test, outcome, and what it measured."""
    passed: int
    skipped: int
    failed: int


def parts_of(record: Path) -> list[Part]:
    """The parts; their times add up to less than eight minutes. record: where pytest writes."""
    tests = ("-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", f"--junit-xml={record}")
    return [
        Part(title="Tests", arguments=(*tests, *TESTS), seconds=120),
        Part(
            title="Context-frozen training against TRL and masked labels",
            arguments=("-m", "benchmarks.training", "--pairs", "1"),
            seconds=260,  # it first writes a model of a billion random parameters
        ),
        Part(
            title="APOLLO against apollo-torch",
            arguments=("-m", "benchmarks.apollo", "--pairs", "3"),
            seconds=90,
        ),
    ]


def part_run(part: Part, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run a part, and end it with all that it has started when its time is over."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *part.arguments],
        cwd=ROOT,
        env={**os.environ, **offline, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    status: int | None
    try:
        output, _ = process.communicate(timeout=part.seconds)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        status = None
    seconds = time.monotonic() - began
    return Outcome(part=part, output=output, status=status, seconds=seconds)


def tests_read(record: Path) -> Tests:
    """Read what pytest wrote; nothing where it did not come so far."""
    if not record.is_file():
        return Tests(rows=[], passed=0, skipped=0, failed=0)
    rows, counts = [], dict.fromkeys(("passed", "skipped", "failed"), 0)
    for case in ElementTree.parse(record).iter("testcase"):  # noqa: S314, our own pytest wrote it
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "passed"
        outcome = "skipped" if "skipped" in kinds else outcome
        counts[outcome] += 1
        measured = [
            f"{one.get('name')}: {_figure(one.get('value'))}" for one in case.iter("property")
        ]
        rows.append([f"`{case.get('name')}`", outcome, "; ".join(measured)])
    return Tests(rows=rows, **counts)


def _figure(text: str | None) -> str:
    try:
        return f"{float(text or ''):.3g}"
    except ValueError:
        return str(text)


def report(outcomes: Sequence[Outcome], tests: Tests, machine: str, day: str) -> str:
    """The page."""
    took = sum(one.seconds for one in outcomes)
    table = markdown_table(
        ["part", "how it ended", "seconds"],
        [[one.part.title, one.words, f"{one.seconds:.0f}"] for one in outcomes],
    )
    sections = [
        f"# What was measured on a GPU\n\nWritten by `make gpu-check` on {day} from what it ran, "
        f"{took:.0f} seconds in all. {machine}.\n\n{table}"
    ]
    counted = f"{tests.passed} passed, {tests.failed} failed, {tests.skipped} were skipped."
    shown = markdown_table(["test", "outcome", "measured"], tests.rows) if tests.rows else ""
    sections.append(f"## Tests\n\n{counted}\n\n{shown}".rstrip())
    for one in outcomes:
        if one.part.title != "Tests" or one.status != 0:
            title = one.part.title if one.part.title != "Tests" else "What pytest said"
            lines = one.output.strip().splitlines()[-_TAIL_LINES:]
            sections.append(f"## {title}\n\n```\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(sections) + "\n"


def is_well(outcomes: Sequence[Outcome], tests: Tests) -> bool:
    """Whether every part was done, and tests really ran on the card."""
    return all(one.status == 0 for one in outcomes) and tests.passed > 0 and not tests.skipped


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all parts and write the page; 2 without a card."""
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path, default=PAGE, help="where the page goes")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.stderr.write(
            "gpu-check: there is no CUDA GPU here, so nothing was run and nothing written. "
            "Run it on a machine where `nvidia-smi` shows a card and torch is built for CUDA.\n"
        )
        return NO_CARD
    if not MODEL.is_dir():
        sys.stderr.write(f"gpu-check: {MODEL} is missing: `make run` unpacks it once.\n")
        return NO_CARD
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as scratch:
        record = Path(scratch) / "tests.xml"
        for part in parts_of(record):
            sys.stdout.write(f"{part.title} (at most {part.seconds} seconds) ...\n")
            sys.stdout.flush()
            outcomes.append(part_run(part))
            sys.stdout.write(f"  {outcomes[-1].words}, {outcomes[-1].seconds:.0f} seconds\n")
        tests = tests_read(record)
    day = datetime.now(UTC).strftime("%-d %B %Y")
    page = report(outcomes, tests, machine_words("trl", "apollo-torch"), day)
    options.write.write_text(page, encoding="utf-8")
    sys.stdout.write(f"Written to {options.write}.\n")
    return 0 if is_well(outcomes, tests) else 1


if __name__ == "__main__":
    sys.exit(main())
