"""Standard tasks by name, their data from a folder of copies.

Every test that asks for lm-eval's catalogue stands here: reading it takes most of the file's time,
and a process does that once.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.event_log import logged_events

pytestmark = pytest.mark.slow


def arc_copy(folder: Path) -> Path:
    """A copy of the hub's allenai/ai2_arc with three questions, as `hf download` lays it out."""
    directory = folder / "allenai" / "ai2_arc"
    (directory / "ARC-Easy").mkdir(parents=True)
    for split in ("train", "validation", "test"):
        rows = [
            {
                "id": f"{split}{number}",
                "question": f"Which of these is {number}?",
                "choices": {"text": ["one", "two", "three"], "label": ["A", "B", "C"]},
                "answerKey": "ABC"[number],
            }
            for number in range(3)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (directory / "ARC-Easy" / f"{split}.jsonl").write_text(text)
    files = "".join(
        f"  - split: {split}\n    path: ARC-Easy/{split}.jsonl\n"
        for split in ("train", "validation", "test")
    )
    card = f"---\nconfigs:\n- config_name: ARC-Easy\n  data_files:\n{files}---\n"
    (directory / "README.md").write_text(card)
    return folder


def test_a_standard_task_is_measured_from_a_folder_of_copies(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    original = datasets.load_dataset
    arc = {"name": "arc_easy", "source": "lm_eval"}
    config = measure_config | {"benchmarks": [arc], "held_out": []}
    code, directory = attempt(config | {"datasets_folder": str(arc_copy(tmp_path / "copies"))})
    assert code == 0
    assert datasets.load_dataset is original
    lines = (directory / "output/samples.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["target"] for row in rows] == ["one", "two", "three"]
    code, directory = attempt(
        config | {"benchmarks": [arc | {"name": "arc_challenge"}], "datasets_folder": "/nowhere"},
        "--attempt",
        "1",
    )
    last = logged_events(directory / "events.jsonl")[-1]
    assert (code, last["where"]) == (2, "benchmark arc_challenge")
    assert "data cannot be had" in last["message"] and "/nowhere" in last["cure"]


def test_a_standard_task_s_item_without_an_answer_is_refused_before_anything_is_measured(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = arc_copy(tmp_path / "copies")
    test_split = folder / "allenai/ai2_arc/ARC-Easy/test.jsonl"
    lines = [json.loads(line) for line in test_split.read_text().splitlines()]
    lines[2]["answerKey"] = ""
    test_split.write_text("".join(json.dumps(line) + "\n" for line in lines))
    benchmarks = [*measure_config["benchmarks"], {"name": "arc_easy", "source": "lm_eval"}]
    code, directory = attempt(
        measure_config | {"benchmarks": benchmarks, "datasets_folder": str(folder)}
    )
    events = logged_events(directory / "events.jsonl")
    assert (code, events[-1]["where"]) == (2, "benchmark arc_easy")
    assert "Which of these is 2?" in events[-1]["message"]
    assert not [one for one in events if one["event"] == "saved"]
    assert not (directory / "output").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_task", "unknown"),
        ("humaneval", "code"),
        ("arc_easy", "data cannot be had"),
    ],
)
def test_standard_tasks_that_cannot_be_measured_are_named(
    measure_config: dict[str, Any],
    attempt: Any,
    name: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "empty"))
    code, directory = attempt(
        measure_config | {"benchmarks": [{"name": name, "source": "lm_eval"}], "held_out": []}
    )
    last = logged_events(directory / "events.jsonl")[-1]
    assert code == 2
    assert last["where"] == f"benchmark {name}"
    assert words in last["message"]
