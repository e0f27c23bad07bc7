"""`make bench-ingest`: reading a large chat file beside the bare libraries that it stands on.

A file of chats is generated (`--mib`), then in turn, each in a process of its own: a bare loop of
`orjson.loads` over its lines and our first pass; a bare loop of `tokenizer.encode_batch` over the
rendered texts of a part of it and our second pass; and near duplicates of `--examples` short texts
by a plain loop of datasketch and by ours. One JSON object a line, then a table; ratio is the
baseline's time by ours: above 1, ours is faster.
"""

import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.command import columns, command, options_read
from benchmarks.machine import ROOT

_WORDS = re.findall(
    r"\w+",
    """
    the of and to in a is that for it as was with be by on not he this are or his from at which
    but have an had they you were their one all we can her has there been if more when will who
    no out so said what up its about into than them only other new some could time these two may
    then do first any my now such like our over man me even most made after also did many before
    must through back years where much your way well down should because each just those people
    """,
)
_ODD = ("naïve", "“quoted”", "über", "résumé", "—", "漢字")
_TOKENISED_MIB = 24
"""Of the examples, for the second pass: tokenizing all of a gigabyte takes minutes a side."""


def text_of(draw: random.Random, least: int, most: int, odd: bool) -> str:
    """Words, now and then with a paragraph, a quotation or a word that is not ASCII."""
    words = [draw.choice(_WORDS) for _ in range(draw.randint(least, most))]
    if odd:
        words[draw.randrange(len(words))] = draw.choice(_ODD)
    if draw.random() < 0.3:
        words.insert(len(words) // 2, "\n\n")
    if draw.random() < 0.2:
        words.append('"quoted"')
    return " ".join(words)


def file_write(path: Path, mib: int) -> None:
    """Write chats until the file has this size; one in ten has a word that is not ASCII."""
    draw, size = random.Random(1), 0  # noqa: S311
    with path.open("w", encoding="utf-8") as file:
        while size < mib << 20:
            odd = draw.random() < 0.1
            turns = []
            for _ in range(draw.randint(1, 4)):
                turns += [
                    {"role": "user", "content": text_of(draw, 10, 120, odd)},
                    {"role": "assistant", "content": text_of(draw, 40, 300, odd)},
                ]
            line = json.dumps({"messages": turns}, ensure_ascii=False) + "\n"
            size += file.write(line)


def _orjson_loop(path: str) -> float:
    import orjson

    begin = time.perf_counter()
    with Path(path).open("rb") as file:
        for line in file:
            orjson.loads(line)
    return time.perf_counter() - begin


def _encode_loop(path: str, model: str) -> float:
    from corpus.conversations import ChatEncoder
    from corpus.examples import example_from_json

    encoder = ChatEncoder.from_directory(model)
    with Path(path).open("rb") as file:
        examples = [example_from_json(json.loads(line)) for line in file]
    texts = [encoder.rendered(example) for example in examples]
    begin = time.perf_counter()
    for at in range(0, len(texts), 128):
        encoder.tokenizer.encode_batch(texts[at : at + 128], add_special_tokens=False)
    return time.perf_counter() - begin


def _short_texts(count: int) -> list[str]:
    draw = random.Random(2)  # noqa: S311
    texts = [text_of(draw, 30, 80, False) for _ in range(count)]
    for at in range(0, count, 100):  # one in a hundred comes again with another first word
        texts[at] = " ".join(["first", *texts[(at + 7) % count].split(" ")[1:]])
    return texts


def _datasketch_loop(count: str) -> float:
    from datasketch import MinHash, MinHashLSH

    from corpus.screening.duplicates import PERMUTATIONS, SIMILARITY, shingles

    texts = _short_texts(int(count))
    begin = time.perf_counter()
    index = MinHashLSH(threshold=SIMILARITY, num_perm=PERMUTATIONS)
    for at, text in enumerate(texts):
        sketch = MinHash(num_perm=PERMUTATIONS)
        for shingle in shingles(text):
            sketch.update(shingle.encode())
        index.query(sketch)
        index.insert(at, sketch)
    return time.perf_counter() - begin


def _near_duplicates(count: str) -> float:
    from corpus.screening.duplicates import clusters, sketch

    texts = _short_texts(int(count))
    begin = time.perf_counter()
    clusters(sketch(texts))
    return time.perf_counter() - begin


_CHILDREN: dict[str, Callable[..., float]] = {
    "orjson": _orjson_loop,
    "encode": _encode_loop,
    "datasketch": _datasketch_loop,
    "near": _near_duplicates,
}


def child_seconds(name: str, *arguments: str) -> float:
    """Seconds that one side took, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ingestion", "--child", name, *arguments],
        cwd=ROOT,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "true"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def ingestion_run(directory: Path, source: Path, passes: str, model: Path) -> tuple[float, float]:
    """Run our engine; seconds of its pass and the largest memory of its process, in MiB."""
    directory.mkdir()
    config = {"source": str(source), "tokenizer": str(model), "passes": passes}
    (directory / "config.json").write_text(json.dumps(config))
    before = time.perf_counter()
    subprocess.run([sys.executable, "-m", "corpus.ingestion", str(directory)], cwd=ROOT, check=True)
    whole = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    if passes == "reading":
        return whole, peak
    lines = (directory / "attempts/0/events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    times = [one["time_seconds"] for one in events if one.get("phase") == "counting tokens"]
    return times[-1] - times[0], peak


def line_of(
    case: str, baseline: str, must: float, pairs: Sequence[tuple[float, float]], **more: Any
) -> dict[str, Any]:
    """The line of a case; each pair is (baseline's seconds, ours)."""
    ratios = [theirs / ours for theirs, ours in pairs]
    return {
        "case": case,
        "baseline": baseline,
        "ratio": round(statistics.median(ratios), 3),
        "ratio_memory": None,
        "must": must,
        "pairs": len(ratios),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "seconds": [round(statistics.median(side), 2) for side in zip(*pairs, strict=True)],
        **more,
    }


def measure(
    folder: Path, model: Path, *, mib: int, examples: int, pairs: int
) -> list[dict[str, Any]]:
    """Time everything in turn; return the lines."""
    source = folder / "chats.jsonl"
    file_write(source, mib)
    first: list[tuple[float, float]] = []
    second: list[tuple[float, float]] = []
    near: list[tuple[float, float]] = []
    peak = 0.0
    for number in range(pairs):
        theirs = child_seconds("orjson", str(source))
        ours, memory = ingestion_run(folder / f"read{number}", source, "reading", model)
        first.append((theirs, ours))
        peak = max(peak, memory)
        part = folder / "part.jsonl"
        with (folder / f"read{number}/attempts/0/output/examples.jsonl").open("rb") as file:
            part.write_bytes(file.read(_TOKENISED_MIB << 20).rsplit(b"\n", 1)[0] + b"\n")
        ours, memory = ingestion_run(folder / f"count{number}", part, "counting", model)
        second.append((child_seconds("encode", str(part), str(model)), ours))
        peak = max(peak, memory)
        theirs = child_seconds("datasketch", str(examples))
        near.append((theirs, child_seconds("near", str(examples))))
    return [
        line_of(
            f"first pass, {mib} MiB", f"orjson.loads {version('orjson')}", 0.5, first, peak_mib=peak
        ),
        line_of("second pass", f"encode_batch, tokenizers {version('tokenizers')}", 0.9, second),
        line_of(f"near duplicates of {examples:,}", f"datasketch {version('datasketch')}", 3, near),
    ]


def main() -> int:
    """Time what the options say; print lines and a table."""
    if sys.argv[1:2] == ["--child"]:
        sys.stdout.write(f"{_CHILDREN[sys.argv[2]](*sys.argv[3:])}\n")
        return 0
    parser = command(__doc__ or "", pairs=3)
    parser.add_argument("--mib", type=int, default=1000, help="size of the generated file")
    parser.add_argument("--examples", type=int, default=100_000, help="texts for near duplicates")
    options = options_read(parser)
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(
            Path(folder),
            options.model,
            mib=options.mib,
            examples=options.examples,
            pairs=options.pairs,
        )
    for line in lines:
        sys.stdout.write(json.dumps(line) + "\n")
    rows = [["case", "baseline", "ratio", "must", "s, baseline / ours"]]
    for line in lines:
        seconds = " / ".join(map(str, line["seconds"]))
        figures = (line["ratio"], line["must"], seconds)
        rows.append([line["case"], line["baseline"], *map(str, figures)])
    sys.stdout.write(columns(rows) + "\n")
    peak = lines[0]["peak_mib"]
    sys.stdout.write(f"largest memory of a reading or counting process: {peak:.0f} MiB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
