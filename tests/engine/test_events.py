"""The event log: whole lines only, and what the reader tolerates."""

import json
import math
from pathlib import Path

from engine.events import EventWriter, read_events


def test_every_event_is_one_json_line_with_name_and_time(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "events.jsonl"
    with EventWriter(path) as writer:
        writer.progress(done=1, total=2, unit="steps", phase="training", seconds_left=3.5)
        writer.metric(step=1, values={"loss_nats": 0.5})
        writer.warning(where="learning_rate", message="high")
        writer.saved(step=1, path=tmp_path)
        writer.error(where="step 2", message="über\nfluss", cure="lower it")
        writer.done(summary={"steps": 1})
    lines = path.read_text().splitlines()
    names = [json.loads(line)["event"] for line in lines]
    assert names == ["progress", "metric", "warning", "saved", "error", "done"]
    assert all(json.loads(line)["time_seconds"] > 1e9 for line in lines)


def test_numbers_that_json_lacks_become_none(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "events.jsonl") as writer:
        writer.metric(step=1, values={"loss_nats": math.nan, "gradient_norm": math.inf})
        writer.done(summary={"deep": [{"value": -math.inf}]})
    (metric, done), _ = read_events(tmp_path / "events.jsonl", 0)
    assert metric["values"] == {"loss_nats": None, "gradient_norm": None}
    assert done["summary"] == {"deep": [{"value": None}]}


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_events(path, 0) == ([], 0)
    with EventWriter(path) as writer:
        writer.saved(step=1, path="a")
        first, offset_bytes = read_events(path, 0)
        assert read_events(path, offset_bytes) == ([], offset_bytes)
        writer.saved(step=2, path="b")
    second, _ = read_events(path, offset_bytes)
    assert [event["step"] for event in first + second] == [1, 2]


def test_a_torn_last_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "saved", "step": 1}\n{"event": "sa')
    events, offset_bytes = read_events(path, 0)
    assert [event["step"] for event in events] == [1]
    with path.open("ab") as file:
        file.write(b'ved", "step": 2}\n')
    assert read_events(path, offset_bytes)[0] == [{"event": "saved", "step": 2}]


def test_a_writer_after_a_killed_one_begins_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "metr')
    with EventWriter(path) as writer:
        writer.saved(step=3, path="c")
    events, _ = read_events(path, 0)
    assert [event["step"] for event in events] == [3]
