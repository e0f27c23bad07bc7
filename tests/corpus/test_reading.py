"""The reading pass: the fast way agrees with the general one, parts add up, states go on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.examples import decisions_mark
from corpus.formats import record_parse
from corpus.ingestion import reading
from corpus.ingestion.engine import main
from corpus.ingestion.plain import plain_read
from corpus.ingestion.tally import Tally
from corpus.jsontext import ExampleError, json_decode
from tests.training.toys import conversation, events_of

TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": st.text(max_size=30)}
    ),
    min_size=1,
    max_size=5,
)


@given(TURNS, st.sampled_from(["last", "all"]), st.booleans())
@settings(max_examples=400, deadline=None)
def test_the_fast_way_agrees_with_the_general_one(turns: Any, rule: str, ascii_only: bool) -> None:
    line = json.dumps({"messages": turns}, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    plain = plain_read(line, rule)
    try:
        example = decisions_mark(record_parse(json_decode(line.decode())).example, rule)
    except (ExampleError, UnicodeDecodeError):
        assert plain is None
        return
    if plain is not None:
        assert plain.hashed == example.hashed_text().encode()
        assert json.loads(plain.turns_json) == example.to_json()["turns"]


USER, ANSWER = '{"role":"user","content":"q"}', '{"role":"assistant","content":"a"}'


def with_turns(line: str) -> bytes:
    return line.replace("USER", USER).replace("ANSWER", ANSWER).encode()


@pytest.mark.parametrize(
    "line",
    [
        '{"messages":[USER,{"role":"assistant","content":"a","content":"b"}]}',
        '{"messages":[USER],"messages":[USER,ANSWER]}',
        '{"messages":[{"role":"user","r\\u006fle":"system","content":"q"},ANSWER]}',
        '{"messages":[USER,ANSWER],"mood":1}',
        '{"messages":[USER,{"role":"assistant","content":"a","train":false}]}',
        '{"messages":[USER,{"role":"assistant","content":"<think>x</think>a"}]}',
        '{"messages":[{"role":"user","content":"a\\u0000"},ANSWER]}',
        '{"messages":[{"role":"tool","content":"q"},ANSWER]}',
        '{"messages":[ANSWER]}',
        '{"messages":[USER,{"role":"assistant","content":" "},USER,ANSWER]}',
    ],
)
def test_what_is_not_plain_is_left_to_the_general_way(line: str) -> None:
    assert plain_read(with_turns(line), "last") is None


def test_common_escapes_stay_plain() -> None:
    content = json.dumps('say "yes"\n\tand \\ more')
    line = '{"messages":[{"role":"user","content":CONTENT},ANSWER]}'.replace("CONTENT", content)
    assert plain_read(with_turns(line), "last") is not None


def config_write(directory: Path, source: Path, model: Path, **more: Any) -> None:
    directory.mkdir(exist_ok=True)
    config = {"source": str(source), "tokenizer": str(model), **more}
    (directory / "config.json").write_text(json.dumps(config))


def records(count: int) -> list[str]:
    lines = []
    for number in range(count):
        record: dict[str, Any] = conversation(number % 50, any_side=True)
        if number % 7 == 0:
            record |= {"mood": number, "reward": number % 3}
        lines.append("broken" if number % 41 == 0 else json.dumps(record))
    return lines


def output_of(directory: Path, attempt: int = 0) -> tuple[dict[str, Any], bytes, bytes]:
    output = directory / f"attempts/{attempt}/output"
    summary = json.loads((output / "summary.json").read_text())
    examples, problems = ((output / f"{n}.jsonl").read_bytes() for n in ("examples", "problems"))
    return summary, examples, problems


@pytest.mark.slow
def test_spans_side_by_side_give_what_one_stream_gives(
    tmp_path: Path, tiny_model_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    lines = records(300)
    lines[100] = json.dumps({"prompt": "x" * 20_000, "completion": "longer than a span"})
    source.write_text("\ufeff" + "\n".join(lines) + "\n\n\r\n")
    limits = {"passes": "reading", "limits": {"max_record_bytes": 8000}}
    config_write(tmp_path / "one", source, tiny_model_directory, **limits)
    assert main([str(tmp_path / "one")]) == 0
    monkeypatch.setattr(reading, "_SIDE_BY_SIDE_BYTES", 1)
    monkeypatch.setattr(reading, "_SPAN_BYTES", 3000)
    config_write(tmp_path / "many", source, tiny_model_directory, **limits)
    assert main([str(tmp_path / "many")]) == 0
    assert output_of(tmp_path / "one") == output_of(tmp_path / "many")
    assert output_of(tmp_path / "one")[0]["problem_count"] == 9


SLOWLY = """
import sys, time
from corpus.ingestion import engine, parts, reading, counting
parts.SAVE_EVERY_SECONDS = reading.SAVE_EVERY_SECONDS = counting.SAVE_EVERY_SECONDS = 0.2
counting._PART_SECONDS = 0.1
write = reading.PartWriter.record
reading.PartWriter.record = lambda self, record: (time.sleep(0.002), write(self, record))
add = counting.TokenTally.add
counting.TokenTally.add = lambda self, *rest: (time.sleep(0.001), add(self, *rest))
sys.exit(engine.main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("passes", ["reading", "counting"])
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_pass_goes_on_to_the_same_end(
    tmp_path: Path, tiny_model_directory: Path, passes: str, kill: signal.Signals
) -> None:
    source = tmp_path / "source"
    source.write_text("\n".join(records(1500)))
    whole = tmp_path / "whole"
    config_write(whole, source, tiny_model_directory, passes="reading")
    assert main([str(whole)]) == 0
    if passes == "counting":
        source = whole / "attempts/0/output/examples.jsonl"
        whole = tmp_path / "whole counting"
        config_write(whole, source, tiny_model_directory, passes=passes)
        assert main([str(whole)]) == 0
    directory = tmp_path / "killed"
    config_write(directory, source, tiny_model_directory, passes=passes)
    command = [sys.executable, "-c", SLOWLY, str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([*command, "--attempt", "1"], env=environment)
    saved = wait_for_saved(directory / "attempts/1")
    process.send_signal(kill)
    assert process.wait(20) == (143 if kill == signal.SIGTERM else -signal.SIGKILL)
    arguments = ["--attempt", "2", "--resume", str(saved)]
    done = subprocess.run([*command, *arguments], env=environment, check=False)
    assert done.returncode == 0
    progress = [one for one in events_of(directory, attempt=2) if one["event"] == "progress"]
    assert progress[0]["done"] > 0
    ours, theirs = (path / "output" for path in (directory / "attempts/2", whole / "attempts/0"))
    assert sorted(path.name for path in ours.iterdir()) == sorted(p.name for p in theirs.iterdir())
    for path in ours.iterdir():
        assert path.read_bytes() == (theirs / path.name).read_bytes(), path.name
    assert not list(directory.glob("attempts/*/*-parts"))


def wait_for_saved(attempt: Path) -> Path:
    for _ in range(400):
        time.sleep(0.05)
        states = sorted((attempt / "states").glob("step-*[0-9]"))
        if len(states) >= 2:
            return states[-1]
    raise AssertionError("no state was saved")


def test_tallies_of_parts_add_up_to_the_whole() -> None:
    lines = [line for line in records(120) if line != "broken"]
    random.Random(1).shuffle(lines)

    def tally_of(part: list[str]) -> Tally:
        tally = Tally()
        for number, line in enumerate(part):
            parsed = record_parse(json.loads(line))
            tally.example_add(parsed.example, parsed.example.format)
            tally.account_add(parsed.account, number)
        return tally

    merged = Tally()
    for start in range(0, len(lines), 25):
        part = json.loads(json.dumps(tally_of(lines[start : start + 25]).to_json()))
        merged.merge(Tally.from_json(part))
    whole = tally_of(lines)
    moods = sum("mood" in line for line in lines)
    assert merged.unused == whole.unused == Counter({"mood": moods})
    for name in ("formats", "example_count", "turn_count", "outcomes", "decisions", "used"):
        assert getattr(merged, name) == getattr(whole, name)
