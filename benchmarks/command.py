"""What the commands of all benchmarks on a model share: their options and their table."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import MODEL


def command(description: str, pairs: int | None = None) -> argparse.ArgumentParser:
    """A parser with --model, and with --pairs where things are measured in turn."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, default=MODEL, help="a Hugging Face directory")
    if pairs is not None:
        parser.add_argument(
            "--pairs", type=int, default=pairs, help="measurements of each, in turn"
        )
    return parser


def options_read(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The command line's options; ends with what to do where the model is missing."""
    options = parser.parse_args()
    if not options.model.is_dir():
        parser.error(f"{options.model} is missing: `make run` unpacks it once, or name another")
    return options


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of as many cells each, the first the heads, as lines of plain text."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same for a page of docs/results."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
