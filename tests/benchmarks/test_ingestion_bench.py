"""`make bench-ingest`: what is generated, and what its lines say."""

import json
from pathlib import Path

from benchmarks.ingestion import _near_duplicates, _short_texts, file_write, line_of
from corpus.ingestion.plain import plain_read
from corpus.screening.duplicates import clusters, sketch


def test_the_generated_file_is_plain_chat_of_its_size(tmp_path: Path) -> None:
    file_write(tmp_path / "chats", 1)
    lines = (tmp_path / "chats").read_bytes().splitlines()
    assert 1 << 20 <= (tmp_path / "chats").stat().st_size < 2 << 20
    assert all(plain_read(line, "last") for line in lines)
    assert 0.02 < sum(not line.isascii() for line in lines) / len(lines) < 0.3


def test_the_planted_near_duplicates_are_there() -> None:
    texts = _short_texts(300)
    assert len(clusters(sketch(texts))) == 3
    assert _near_duplicates("50") > 0


def test_a_line_has_the_medians_of_the_pairs() -> None:
    line = line_of("case", "theirs", 0.5, [(1.0, 2.0), (3.0, 4.0), (2.0, 2.0)], peak_mib=7)
    assert line["ratio"] == 0.75 and line["spread"] == [0.5, 1.0]
    assert line["seconds"] == [2.0, 2.0] and line["pairs"] == 3
    assert json.loads(json.dumps(line)) == line
