"""The third pass: duplicates, contamination, secrets and personal data, by row.

It changes nothing: what it finds is written down, and people decide.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from corpus.examples import Example, example_from_json
from corpus.ingestion import is_held_out_line
from corpus.ingestion.config import IngestionConfig
from corpus.ingestion.reading import HASH_BYTES
from corpus.screening.contamination import ContaminationIndex, Reference
from corpus.screening.duplicates import Sketches, clusters, near_in, sketch, text_of
from corpus.screening.personal import finds_in
from corpus.screening.runs import said_in
from corpus.screening.slices import FILE as SLICE_FILE
from corpus.screening.slices import SliceIndex, SliceRuns
from engine.attempt import Attempt

ROWS_KEPT = 500
"""Rows of each kind that are kept; more are only counted."""
SKETCHED_MAX = 400_000
"""Near duplicates are looked for among so many examples: their sketches are in memory."""
_CLUSTERS_KEPT = 50
_MEMBERS_KEPT = 20
_AT_ONCE = 256


class ScreeningPass:
    """Looks through the examples that could be tokenised."""

    def __init__(
        self, config: IngestionConfig, attempt: Attempt, examples: Path, output: Path
    ) -> None:
        self.config = config
        self.attempt = attempt
        self.examples = examples
        self.output = output
        self.index = ContaminationIndex(_references(config.references))
        self.slices = SliceIndex([(one["name"], Path(one["directory"])) for one in config.earlier])
        self.own_slice = SliceRuns(_held_out(examples))
        self.lines: list[int] = []
        self.hashes: list[str] = []
        self.contaminated: list[dict[str, Any]] = []
        self.contaminated_count = 0
        self.contaminated_sha256: list[str] = []
        self.personal: list[dict[str, Any]] = []
        self.personal_counts: Counter[str] = Counter()
        self._sketches: list[Sketches] = []

    def run(self) -> dict[str, Any]:
        """Look through all of them and return the report."""
        for records in self._batches():
            examples = [example_from_json(record) for record in records]
            for record, example in zip(records, examples, strict=True):
                self._contamination(record, example)
                self._personal(record, example)
            if len(self.lines) < SKETCHED_MAX:
                self._sketches.append(sketch([text_of(example) for example in examples]))
            self.lines += [record["line"] for record in records]
            self.hashes += [record["sha256"] for record in records]
            self.attempt.check_stop()
        self.own_slice.save(self.output / SLICE_FILE)
        sketches = np.concatenate(self._sketches) if self._sketches else sketch([])
        np.save(self.output / "sketches.npy", sketches)
        return {
            "screened": len(self.lines),
            "sketched": len(sketches),
            "near": self._near(sketches),
            "earlier": self._earlier(sketches),
            "contaminated_count": self.contaminated_count,
            "contaminated": self.contaminated,
            "contaminated_sha256": self.contaminated_sha256,
            "personal_counts": dict(self.personal_counts),
            "personal": self.personal,
        }

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        total, done, shown = self.examples.stat().st_size, 0, time.monotonic()
        with self.examples.open("rb") as file:
            while lines := [line for _, line in zip(range(_AT_ONCE), file, strict=False)]:
                records = [json.loads(line) for line in lines]
                yield [record for record in records if not record.get("part")]
                done += sum(map(len, lines))
                if time.monotonic() - shown > 0.5:
                    shown = time.monotonic()
                    self.attempt.events.progress(
                        done=done, total=total, unit="bytes", phase="looking through"
                    )

    def _contamination(self, record: Mapping[str, Any], example: Example) -> None:
        said = said_in(example)
        overlaps = self.index.overlaps(said)
        if not record["held_out"]:
            self.own_slice.trained(said)
            in_slice = None if overlaps else self.slices.overlap(said)
            overlaps += [in_slice] if in_slice else []
        if not overlaps:
            return
        self.contaminated_count += 1
        self.contaminated_sha256.append(record["sha256"])
        if len(self.contaminated) < ROWS_KEPT:
            one = overlaps[0]
            self.contaminated.append(
                {
                    "line": record["line"],
                    "sha256": record["sha256"],
                    "where": one.where,
                    "name": one.name,
                    "excerpt": one.excerpt,
                }
            )

    def _personal(self, record: Mapping[str, Any], example: Example) -> None:
        for number, turn in enumerate(example.turns, start=1):
            for find in finds_in(turn.content):
                self.personal_counts[find.kind] += 1
                if len(self.personal) < ROWS_KEPT:
                    text = turn.content[find.start : find.end]
                    row = {"line": record["line"], "turn": number, "kind": find.kind}
                    self.personal.append(row | {"shown": _masked(text)})

    def _near(self, sketches: Sketches) -> dict[str, Any]:
        groups = clusters(sketches)
        kept = groups[:_CLUSTERS_KEPT]
        return {
            "clusters": len(groups),
            "examples": sum(map(len, groups)),
            "rows": [[self.lines[at] for at in group[:_MEMBERS_KEPT]] for group in kept],
            "places": [group[:_MEMBERS_KEPT] for group in kept],
            "sizes": [len(group) for group in kept],
        }

    def _earlier(self, sketches: Sketches) -> list[dict[str, Any]]:
        """How much of each earlier batch comes again, word for word and nearly."""
        rows = []
        own = np.array(
            [bytes.fromhex(one)[:HASH_BYTES] for one in self.hashes], dtype=f"V{HASH_BYTES}"
        )
        for batch in self.config.earlier:
            directory = Path(batch["directory"])
            exact = near = 0
            if (directory / "hashes.bin").is_file():
                theirs = np.fromfile(directory / "hashes.bin", dtype=f"V{HASH_BYTES}")
                exact = int(np.isin(own, theirs).sum())
            if (directory / "sketches.npy").is_file():
                earlier = np.load(directory / "sketches.npy")
                near = int(near_in(sketches, earlier).sum()) if len(earlier) else 0
            if exact or near:
                rows.append({"key": batch["key"], "exact": exact, "near": max(exact, near)})
        return rows


def _held_out(examples: Path) -> Iterator[Example]:
    with examples.open("rb") as file:
        for line in file:
            if is_held_out_line(line):
                yield example_from_json(json.loads(line))


def _references(path: Path | None) -> Iterator[Reference]:
    if path is not None:
        with path.open(encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                yield Reference(name=record["name"], text=record["text"])


def _masked(text: str) -> str:
    """Enough of a find to know it again, and no more."""
    kept = text[:3]
    return f"{kept}… ({len(text)} characters)"
