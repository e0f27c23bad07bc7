"""Files as they come: packed, tables, arrays, pretty objects, and what is not read."""

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from corpus.jsontext import ExampleError
from corpus.records import FileError, records_read

LINE = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "ä"}]}
TEXT = json.dumps(LINE, ensure_ascii=False)


def values(path: Path, **more: Any) -> list[Any]:
    records = records_read(path, max_record_bytes=1 << 20, **more)
    return [record.value() for record in records]


def written(directory: Path, content: bytes | str, name: str = "file") -> Path:
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pretty() -> str:
    return json.dumps(LINE, indent=2, ensure_ascii=False)


@pytest.mark.parametrize(
    "content",
    [
        TEXT + "\n" + TEXT,
        f"[{TEXT}, {TEXT}]",
        pretty() + "\n" + pretty() + "\n",
        f"[\n{pretty()},\n{pretty()}\n]",
        "\ufeff" + TEXT + "\r\n" + TEXT + "\r\n",
    ],
)
@pytest.mark.parametrize("packed", ["", "gzip", "zstd"])
def test_every_container_gives_the_same_records(tmp_path: Path, content: str, packed: str) -> None:
    data = content.encode()
    if packed:
        data = gzip.compress(data) if packed == "gzip" else zstandard.compress(data)
    assert values(written(tmp_path, data)) == [LINE, LINE]


def test_a_table_of_text(tmp_path: Path) -> None:
    content = 'prompt,completion,note\n"a, b",c,\n"two\nlines",d,x\n'
    path = written(tmp_path, content)
    assert values(path, filename="talks.csv") == [
        {"prompt": "a, b", "completion": "c", "note": None},
        {"prompt": "two\nlines", "completion": "d", "note": "x"},
    ]
    lines = [record.line for record in records_read(path, filename="x.csv", max_record_bytes=999)]
    assert lines == [2, 3]
    tabs = written(tmp_path, "prompt\tcompletion\na\tb\n")
    assert values(tabs) == [{"prompt": "a", "completion": "b"}]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [LINE | {"images": None, "score": 0.5}, LINE | {"images": None, "score": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet")
    assert values(tmp_path / "x.parquet") == rows
    nan = [LINE | {"score": float("nan")}]
    parquet.write_table(pyarrow.Table.from_pylist(nan), tmp_path / "nan.parquet")
    with pytest.raises(ExampleError, match="not finite"):
        values(tmp_path / "nan.parquet")
    broken = (tmp_path / "x.parquet").read_bytes()[:-40]
    with pytest.raises(FileError, match="Parquet file is broken"):
        values(written(tmp_path, broken))


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.jsonl", TEXT)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(), "zip archive"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 40, "PNG picture"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"SQLite format 3\0", "SQLite"),
        (b"\x80\x04\x95\x00", "pickle"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (TEXT.encode("utf-16"), "mark of UTF-16"),
        (TEXT.encode("utf-16-le"), "UTF-16 without a mark"),
        (TEXT.encode("utf-32"), "mark of UTF-32"),
        (TEXT.encode("latin-1"), "byte 0xe4"),
        (f"[{TEXT}]".encode("latin-1"), "byte 0xe4"),
        ("prompt,completion\na,ä".encode("latin-1"), "byte 0xe4"),
        (gzip.compress(gzip.compress(b"x")), "packed twice"),
        (gzip.compress(TEXT.encode())[:-9], "package is broken"),
        (zstandard.compress(TEXT.encode())[:-3] + b"xxx", "package is broken"),
        (b"prompt,prompt\na,b\n", "two columns are called prompt"),
        (b"prompt,\na,b\n", "no name"),
        (b"", "empty"),
        (b"\n \n", "empty"),
        (gzip.compress(b""), "empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",  # archives hold the time
)
def test_what_is_not_read_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(FileError, match=message) as caught:
        values(written(tmp_path, content))
    assert caught.value.cure


@pytest.mark.slow
def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    bomb = gzip.compress(b"\n" * (80 << 20))
    with pytest.raises(FileError, match="unpacked it is larger"):
        values(written(tmp_path, bomb))
    small = gzip.compress(TEXT.encode() * 100)
    with pytest.raises(FileError, match="limit of 1,000 bytes"):
        values(written(tmp_path, small), max_expanded_bytes=1000)


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (f"[{TEXT}{TEXT}]", 1, "a comma is missing"),
        (f"[{TEXT},\n{TEXT},\n]", 3, "comma stands before the closing bracket"),
        (f"[{TEXT},\n{TEXT}", 2, "does not end"),
        (f"{pretty()}\n{{", 13, "not JSON"),
        ("prompt,completion\na,b,c\n", 2, "3 cells in a table of 2 columns"),
    ],
)
def test_what_is_wrong_with_one_record_has_its_line(
    tmp_path: Path, content: str, line: int, message: str
) -> None:
    records = list(records_read(written(tmp_path, content), max_record_bytes=1 << 20))
    wrong = [record for record in records if record.error is not None]
    assert [record.line for record in wrong] == [line]
    with pytest.raises(ExampleError, match=message):
        wrong[0].value()
