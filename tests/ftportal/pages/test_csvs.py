"""CSV lines that a spreadsheet opens without computing anything."""

import csv
import io
import re
from pathlib import Path

import pytest

import ftportal
from ftportal.pages.csvs import csv_line

_SIGNS = ["=", "+", "-", "@", "\t", "\r", "\n", "\r\n", "＝", "＋", "－", "＠"]


def _read(line: str) -> list[str]:
    (row,) = csv.reader(io.StringIO(line, newline=""))
    return row


@pytest.mark.parametrize("sign", _SIGNS)
def test_a_text_that_begins_like_a_formula_is_escaped(sign: str) -> None:
    assert _read(csv_line([f"{sign}1+1", "plain"])) == [f"'{sign}1+1", "plain"]


def test_numbers_stay_numbers() -> None:
    line = csv_line([-0.48, -3, 1e-05, None, "-0.48"])
    assert line == '-0.48,-3,1e-05,"","\'-0.48"\r\n'


@pytest.mark.parametrize("border", [";", "\t", ",", "|"])
def test_no_border_of_cells_stands_outside_of_quotes(border: str) -> None:
    line = csv_line(["b", f"a{border}=1+1"])
    assert _read(line) == ["b", f"a{border}=1+1"]
    assert re.sub('"[^"]*"', "", line) == ",\r\n"


def test_quotes_and_lines_in_a_text_come_back() -> None:
    cells = ['say "no"', "two\nlines", "'=1", "ä € 𝕏"]
    assert _read(csv_line(cells)) == cells


def test_nothing_else_in_the_portal_writes_csv() -> None:
    folder = Path(ftportal.__file__).parent
    writers = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if "csv.writer" in path.read_text() or "DictWriter" in path.read_text()
    ]
    assert writers == ["pages/csvs.py"]
