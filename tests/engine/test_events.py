"""The event log: whole lines only, and what the reader tolerates."""

import json
import math
import re
from pathlib import Path

import pytest

from engine.events import (
    UNREADABLE,
    Caution,
    Done,
    Event,
    EventWriter,
    Failure,
    Metric,
    Progress,
    Saved,
    event_parse,
    read_events,
)


def steps(events: list[Event]) -> list[int]:
    return [one.step for one in events if isinstance(one, Saved)]


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


def test_what_the_reader_gives_is_what_the_writer_was_told(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        writer.progress(done=1, total=None, unit="steps", phase="training")
        writer.metric(step=1, values={"loss_nats": 0.5})
        writer.warning(where="learning_rate", message="high")
        writer.saved(step=1, path=Path("a"))
        writer.error(where="step 2", message="über\nfluss", cure="lower it")
        writer.done(summary={"steps": 1})
    assert read_events(path)[0] == [
        Progress(done=1, total=None, unit="steps", phase="training", seconds_left=None),
        Metric(step=1, values={"loss_nats": 0.5}),
        Caution(where="learning_rate", message="high"),
        Saved(step=1, path="a"),
        Failure(where="step 2", message="über\nfluss", cure="lower it"),
        Done(summary={"steps": 1}),
    ]


def test_a_line_of_the_log_is_what_it_was_before_events_had_types(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as writer:
        writer.progress(done=1, total=2.5, unit="steps", phase="über", seconds_left=None)
        writer.metric(step=3, values={"b": 2, "a": math.nan})
    whole = [
        re.sub(r'"time_seconds": [0-9.e+]+', "T", line) for line in path.read_text().split("\n")
    ]
    assert whole == [
        '{"event": "progress", T, "done": 1, "total": 2.5, "unit": "steps", "phase": "über", '
        '"seconds_left": null}',
        '{"event": "metric", T, "step": 3, "values": {"b": 2, "a": null}}',
        "",
    ]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"event": "metr', "not JSON"),
        ("[" * 100_000, "nested too deeply|not JSON"),
        ('["metric"]', "not a JSON object"),
        ('{"event": "metrics", "step": 1}', "no name that is known"),
        ('{"event": ["metric"]}', "no name that is known"),
        ('{"event": "metric"}', r"a metric has other fields \('step', 'values'\)"),
        ('{"event": "saved", "step": 1, "path": "a", "size": 2}', "'size'"),
        ('{"event": "metric", "step": "one", "values": {}}', "the step of a metric is 'one'"),
        ('{"event": "metric", "step": true, "values": {}}', "the step of a metric is True"),
        ('{"event": "metric", "step": -1, "values": {}}', "the step of a metric is -1"),
        ('{"event": "metric", "step": 1, "values": {"a": "x"}}', "the values of a metric"),
        ('{"event": "metric", "step": 1, "values": {"a": true}}', "the values of a metric"),
        ('{"event": "saved", "step": 1, "path": null}', "the path of a saved is None"),
        ('{"event": "done", "summary": []}', "the summary of a done"),
    ],
)
def test_a_line_that_does_not_fit_is_told_and_stands_in_its_place(
    tmp_path: Path, line: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        event_parse(line.encode())
    path = tmp_path / "events.jsonl"
    path.write_text(f'{line}\n{{"event": "saved", "step": 1, "path": "a"}}\n')
    events, offset_bytes = read_events(path)
    assert offset_bytes == path.stat().st_size
    told, saved = events
    assert isinstance(told, Caution) and told.where == UNREADABLE
    assert line[:100] in told.message and len(told.message) < 400
    assert saved == Saved(step=1, path="a")


def test_a_number_beyond_every_float_is_missing() -> None:
    line = f'{{"event": "metric", "step": 1, "values": {{"a": 1{"0" * 400}, "b": NaN}}}}'
    assert event_parse(line.encode()) == Metric(step=1, values={"a": None, "b": None})


def test_numbers_that_json_lacks_become_none(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "events.jsonl") as writer:
        writer.metric(step=1, values={"loss_nats": math.nan, "gradient_norm": math.inf})
        writer.done(summary={"deep": [{"value": -math.inf}]})
    (metric, done), _ = read_events(tmp_path / "events.jsonl", 0)
    assert metric == Metric(step=1, values={"loss_nats": None, "gradient_norm": None})
    assert done == Done(summary={"deep": [{"value": None}]})


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_events(path, 0) == ([], 0)
    with EventWriter(path) as writer:
        writer.saved(step=1, path="a")
        first, offset_bytes = read_events(path, 0)
        assert read_events(path, offset_bytes) == ([], offset_bytes)
        writer.saved(step=2, path="b")
    second, _ = read_events(path, offset_bytes)
    assert steps(first + second) == [1, 2]


def test_a_torn_last_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "saved", "step": 1, "path": "a"}\n{"event": "sa')
    events, offset_bytes = read_events(path, 0)
    assert steps(events) == [1]
    with path.open("ab") as file:
        file.write(b'ved", "step": 2, "path": "b"}\n')
    assert read_events(path, offset_bytes)[0] == [Saved(step=2, path="b")]


def test_a_writer_after_a_killed_one_begins_a_new_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "metr')
    with EventWriter(path) as writer:
        writer.saved(step=3, path="c")
    (told, saved), _ = read_events(path, 0)
    assert isinstance(told, Caution) and '{"event": "metr' in told.message
    assert saved == Saved(step=3, path="c")
