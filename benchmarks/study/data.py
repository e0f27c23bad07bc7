"""What the study learns from and what it measures on: batches and Python's own texts."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchmarks.machine import ROOT
from corpus.conversations import ChatEncoder
from corpus.encoded import EncodedExample
from corpus.examples import example_from_json
from evaluation.suites.heldout import python_documentation_documents, python_source_documents
from training.config import BatchConfig

HELD_OUT_ONE_IN = 4
"""Of a batch's examples: the portal keeps one in ten, which of 24 would be two."""
KL_EXAMPLES = 10
TEXT_DOCUMENTS = 12
"""Of prose, and as many of code."""
TEXT_TOKENS = 192
"""Of each document, from its beginning."""


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """Everything that is learnt or measured, encoded once."""

    batches: list[BatchConfig]
    held_out: list[EncodedExample]
    """Never learnt: the target loss is measured here."""
    learnt: list[EncodedExample]
    """Some of the examples to learn from: the forward KL is measured here."""
    prose: list[list[int]]
    code: list[list[int]]
    fingerprint: str
    """Of all of it; results of other data are not continued."""


def data_read(files: Sequence[Path], directory: Path, model: Path, max_tokens: int) -> StudyData:
    """Ingest the batch files below `directory` and encode what is measured on."""
    encoder = ChatEncoder.from_directory(model)
    batches: list[BatchConfig] = []
    kept: list[EncodedExample] = []
    learnt: list[EncodedExample] = []
    for number, file in enumerate(files):
        records = _ingested(file, directory / f"batch-{number}", model)
        for record in records:
            record["held_out"] = int(record["sha256"][:8], 16) % HELD_OUT_ONE_IN == 0
        path = directory / f"batch-{number}.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
        batches.append(
            BatchConfig(key=f"b{number}", name=file.stem, kind="general", path=str(path))
        )
        for record in records:
            encoded = encoder.encode(example_from_json(record))
            if len(encoded.token_ids) <= max_tokens:
                (kept if record["held_out"] else learnt).append(encoded)
    if not kept or not learnt:
        raise SystemExit("No example short enough on both sides: raise --max-tokens.")
    step = max(1, len(learnt) // KL_EXAMPLES)
    tokenizer = encoder.tokenizer
    prose = _texts(tokenizer, python_documentation_documents(TEXT_DOCUMENTS))
    code = _texts(tokenizer, python_source_documents(TEXT_DOCUMENTS))
    said = [[one.token_ids for one in kept + learnt], prose, code]
    return StudyData(
        batches=batches,
        held_out=kept,
        learnt=learnt[::step][:KL_EXAMPLES],
        prose=prose,
        code=code,
        fingerprint=hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16],
    )


def _ingested(file: Path, directory: Path, model: Path) -> list[dict[str, Any]]:
    """The examples of an uploaded file, as the portal would keep them."""
    output = directory / "attempts/0/output"
    if not output.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        config = {"source": str(file.resolve()), "tokenizer": str(model)}
        (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
        arguments = [sys.executable, "-m", "corpus.ingestion", str(directory)]
        if subprocess.run(arguments, cwd=ROOT).returncode:
            raise SystemExit(f"{file} cannot be read as a batch.")
    lines = (output / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _texts(tokenizer: Tokenizer, documents: Sequence[Any]) -> list[list[int]]:
    """Token ids of the documents' beginnings."""
    return [
        tokenizer.encode(one["text"], add_special_tokens=False).ids[:TEXT_TOKENS]
        for one in documents
    ]
