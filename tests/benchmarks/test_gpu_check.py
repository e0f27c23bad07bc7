"""The pieces of the GPU check, without a GPU: the refusal, parts that fail or hang, the page."""

import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_check
from benchmarks.gpu_check import NO_CARD, TESTS, Outcome, Part, is_well, part_run, parts_of, report
from benchmarks.gpu_check import tests_read as record_read
from benchmarks.machine import ROOT

HANGS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def part(code: str, seconds: int = 30) -> Part:
    return Part(title="A part", arguments=("-c", code), seconds=seconds)


def test_without_a_card_it_says_so_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu_check, "part_run", lambda _: pytest.fail("nothing may run"))
    page = tmp_path / "gpu.md"
    assert gpu_check.main(["--write", str(page)]) == NO_CARD
    assert not page.exists()
    assert "there is no CUDA GPU here" in capsys.readouterr().err


def test_it_ends_in_under_eight_minutes() -> None:
    assert sum(one.seconds for one in parts_of(Path("record"))) < 8 * 60


def test_a_part_that_fails_is_named_with_what_it_said() -> None:
    outcome = part_run(part("print('so far'); raise SystemExit('no room')"))
    assert outcome.words == "failed (exit status 1)"
    assert "so far" in outcome.output and "no room" in outcome.output
    assert part_run(part("import os; print(os.environ['HF_HUB_OFFLINE'])")).output == "1\n"


def test_a_part_that_hangs_is_ended_with_all_its_children() -> None:
    outcome = part_run(part(HANGS, seconds=1))
    assert outcome.status is None
    assert outcome.words == "ended after its 1 s, before it was done"
    child = int(outcome.output)
    deadline = time.monotonic() + 5
    while _is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _is_alive(child)


def _is_alive(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


SOME_TESTS = """
import pytest

@pytest.mark.gpu
def test_measured(record_property):
    record_property("gradient error", 0.0123456)

@pytest.mark.gpu
def test_wrong():
    assert 1 == 2

@pytest.mark.gpu
def test_left_out():
    pytest.skip("there is no CUDA GPU")

def test_of_another_kind():
    pass
"""


def test_what_pytest_measured_is_on_the_page(tmp_path: Path) -> None:
    """With the real pytest, as the first part runs it."""
    file, record = tmp_path / "test_some.py", tmp_path / "tests.xml"
    file.write_text(SOME_TESTS)
    (tests, *_) = parts_of(record)
    arguments = (*(one for one in tests.arguments if not one.startswith("tests/")), str(file))
    outcome = part_run(Part(title="Tests", arguments=arguments, seconds=120))
    assert outcome.status == 1, outcome.output
    read = record_read(record)
    assert (read.passed, read.failed, read.skipped) == (1, 1, 1)
    page = report([outcome], read, "A machine", "1 May 2026")
    assert "| `test_measured` | passed | gradient error: 0.0123 |" in page
    assert "| `test_wrong` | failed |" in page
    assert "test_of_another_kind" not in page
    assert "assert 1 == 2" in page
    assert not is_well([outcome], read)


def test_tests_that_were_all_skipped_are_not_well(tmp_path: Path) -> None:
    done = Outcome(part=part(""), output="", status=0, seconds=1.0)
    assert not is_well([done], record_read(tmp_path / "missing.xml"))


def test_each_marked_test_has_a_twin_on_the_processor() -> None:
    """What the first part will run is known to be right but for the device."""
    collecting = Part(title="", arguments=("-m", "pytest", "--collect-only", *TESTS), seconds=120)
    names = {line for line in part_run(collecting).output.splitlines() if "::" in line}
    marked = {name for name in names if "cuda" in name}
    assert len(marked) >= 10
    assert {name.replace("cuda", "cpu") for name in marked} <= names


def test_no_file_with_marked_tests_is_forgotten() -> None:
    having = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        if "either_device" in path.read_text(encoding="utf-8") and path != Path(__file__)
    }
    assert having == set(TESTS)
