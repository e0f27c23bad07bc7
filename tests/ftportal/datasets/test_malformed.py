"""Files as they should not be: each is refused at its line, and nothing of it stays but itself."""

import gzip
import io
from collections.abc import Callable
from typing import Any

import pytest
import zstandard
from django.apps import apps
from django.core.files import File

from ftportal.datasets.models import Batch, BatchProblem, BatchState
from ftportal.datasets.uploads import UploadRefusedError
from ftportal.jobs.models import Job

pytestmark = pytest.mark.django_db

USER = '{"role":"user","content":"Hi"}'
ANSWER = '{"role":"assistant","content":"Yo"}'


def chat(*turns: str, more: str = "") -> str:
    return '{"messages":[' + ",".join(turns) + "]" + more + "}"


def lines(*several: str) -> bytes:
    return "\n".join(several).encode()


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


OK = chat(USER, ANSWER)
CASES = [
    ("empty file", b"", "a.jsonl", 0, "the file is empty"),
    ("only spaces", b"  \n \n", "a.jsonl", 0, "the file is empty"),
    ("not json", lines(OK, "hello"), "a.jsonl", 2, "a value is missing"),
    ("cut off", lines(OK, OK[:-2]), "a.jsonl", 2, "a comma is missing"),
    (
        "two objects on a line",
        lines(OK, OK + OK),
        "a.jsonl",
        2,
        "text follows the end of the value",
    ),
    ("trailing comma", lines(OK, OK + ","), "a.jsonl", 2, "text follows the end of the value"),
    (
        "single quotes",
        lines(OK, "{'messages': []}"),
        "a.jsonl",
        2,
        "a key in double quotes is missing",
    ),
    (
        "python literals",
        lines(OK, chat(USER, ANSWER, more=',"x":None')),
        "a.jsonl",
        2,
        "a value is missing",
    ),
    ("bare number", lines(OK, "42"), "a.jsonl", 2, "not a JSON object"),
    ("bare string", lines(OK, '"hello"'), "a.jsonl", 2, "not a JSON object"),
    ("a list", lines(OK, "[1,2]"), "a.jsonl", 2, "not a JSON object"),
    ("null", lines(OK, "null"), "a.jsonl", 2, "not a JSON object"),
    (
        "NaN",
        lines(OK, chat(USER, ANSWER, more=',"score":NaN')),
        "a.jsonl",
        2,
        "NaN is not a number",
    ),
    (
        "Infinity",
        lines(OK, chat(USER, ANSWER, more=',"score":-Infinity')),
        "a.jsonl",
        2,
        "-Infinity is not a number",
    ),
    (
        "1e400",
        lines(OK, chat(USER, ANSWER, more=',"score":1e400')),
        "a.jsonl",
        2,
        "1e400 is not a number",
    ),
    (
        "duplicate key",
        lines(OK, '{"messages":[],"messages":[' + USER + "," + ANSWER + "]}"),
        "a.jsonl",
        2,
        'the key "messages" stands twice',
    ),
    (
        "duplicate key in turn",
        lines(OK, chat('{"role":"user","role":"system","content":"Hi"}', ANSWER)),
        "a.jsonl",
        2,
        'the key "role" stands twice',
    ),
    (
        "control character",
        lines(OK, '{"messages":[{"role":"user","content":"a\tb"},' + ANSWER + "]}"),
        "a.jsonl",
        2,
        "control character stands in a string",
    ),
    (
        "bad escape",
        lines(OK, '{"messages":[{"role":"user","content":"a\\qb"},' + ANSWER + "]}"),
        "a.jsonl",
        2,
        "a backslash is followed by",
    ),
    (
        "lone surrogate",
        lines(OK, '{"messages":[{"role":"user","content":"\\ud800"},' + ANSWER + "]}"),
        "a.jsonl",
        2,
        "half of a surrogate pair",
    ),
    (
        "NUL",
        lines(OK, '{"messages":[{"role":"user","content":"a\\u0000"},' + ANSWER + "]}"),
        "a.jsonl",
        2,
        "a NUL character",
    ),
    (
        "too deep",
        lines(OK, '{"messages":' + deep(3000) + "}"),
        "a.jsonl",
        2,
        "nested more than 64 deep",
    ),
    ("no messages", lines(OK, '{"messages":[]}'), "a.jsonl", 2, "messages is empty"),
    (
        "messages not list",
        lines(OK, '{"messages":{"role":"user"}}'),
        "a.jsonl",
        2,
        "turn 1 has no text",
    ),
    (
        "messages text no json",
        lines(OK, '{"messages":"hello"}'),
        "a.jsonl",
        2,
        "messages, as text: not JSON",
    ),
    (
        "turn not object",
        lines(OK, '{"messages":["Hi",' + ANSWER + "]}"),
        "a.jsonl",
        2,
        "turn 1 is not a JSON object",
    ),
    (
        "unknown role",
        lines(OK, chat('{"role":"boss","content":"Hi"}', ANSWER)),
        "a.jsonl",
        2,
        'unknown role "boss"',
    ),
    (
        "role missing",
        lines(OK, chat('{"content":"Hi"}', ANSWER)),
        "a.jsonl",
        2,
        "unknown role null",
    ),
    (
        "role number",
        lines(OK, chat('{"role":3,"content":"Hi"}', ANSWER)),
        "a.jsonl",
        2,
        "unknown role 3",
    ),
    (
        "content missing",
        lines(OK, chat('{"role":"user"}', ANSWER)),
        "a.jsonl",
        2,
        "turn 1 has no text",
    ),
    (
        "content number",
        lines(OK, chat('{"role":"user","content":5}', ANSWER)),
        "a.jsonl",
        2,
        "turn 1 has no text",
    ),
    (
        "content null user",
        lines(OK, chat('{"role":"user","content":null}', ANSWER)),
        "a.jsonl",
        2,
        "turn 1 has no text",
    ),
    ("no assistant", lines(OK, chat(USER)), "a.jsonl", 2, "no assistant turn to learn"),
    ("only assistant", lines(OK, chat(ANSWER)), "a.jsonl", 2, "nothing stands before it"),
    (
        "empty answer",
        lines(OK, chat(USER, '{"role":"assistant","content":"  "}')),
        "a.jsonl",
        2,
        "turn 2 is to be learnt but is empty",
    ),
    (
        "all masked",
        lines(OK, chat(USER, '{"role":"assistant","content":"Yo","train":false}')),
        "a.jsonl",
        2,
        "no assistant turn to learn",
    ),
    (
        "marks disagree",
        lines(OK, chat(USER, '{"role":"assistant","content":"Yo","train":true,"weight":0}')),
        "a.jsonl",
        2,
        "marks disagree (train and weight)",
    ),
    (
        "weight half",
        lines(OK, chat(USER, '{"role":"assistant","content":"Yo","weight":0.5}')),
        "a.jsonl",
        2,
        "weight is 0.5",
    ),
    (
        "mark on user",
        lines(OK, chat('{"role":"user","content":"Hi","train":true}', ANSWER)),
        "a.jsonl",
        2,
        "a user turn is marked",
    ),
    (
        "mark no bool",
        lines(OK, chat(USER, '{"role":"assistant","content":"Yo","train":"maybe"}')),
        "a.jsonl",
        2,
        'train is "maybe"',
    ),
    (
        "image block",
        lines(
            OK,
            chat(
                '{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}', ANSWER
            ),
        ),
        "a.jsonl",
        2,
        'the type "image_url"',
    ),
    (
        "images field",
        lines(OK, chat(USER, ANSWER, more=',"images":["a.png"]')),
        "a.jsonl",
        2,
        "the field images",
    ),
    (
        "audio",
        lines(
            OK, chat('{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}', ANSWER)
        ),
        "a.jsonl",
        2,
        'the type "input_audio"',
    ),
    (
        "tool args list",
        lines(
            OK,
            chat(
                USER,
                '{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]}',
            ),
        ),
        "a.jsonl",
        2,
        "the arguments of f are not a JSON object",
    ),
    (
        "tool args broken",
        lines(
            OK,
            chat(
                USER,
                '{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{a"}}]}',
            ),
        ),
        "a.jsonl",
        2,
        "the arguments of f are not a JSON object",
    ),
    (
        "tool args NaN",
        lines(
            OK,
            chat(
                USER,
                '{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\\"a\\":NaN}"}}]}',
            ),
        ),
        "a.jsonl",
        2,
        "arguments: NaN is not a number",
    ),
    (
        "tool no name",
        lines(
            OK,
            chat(
                USER,
                '{"role":"assistant","content":null,"tool_calls":[{"function":{"arguments":"{}"}}]}',
            ),
        ),
        "a.jsonl",
        2,
        "a tool call has no function name",
    ),
    (
        "tool_calls not list",
        lines(OK, chat(USER, '{"role":"assistant","content":null,"tool_calls":{"f":1}}')),
        "a.jsonl",
        2,
        "tool_calls is not a list",
    ),
    (
        "tools not list",
        lines(OK, chat(USER, ANSWER, more=',"tools":"f"')),
        "a.jsonl",
        2,
        "tools, as text: not JSON",
    ),
    (
        "tools no name",
        lines(OK, chat(USER, ANSWER, more=',"tools":[{"type":"function"}]')),
        "a.jsonl",
        2,
        "tools: number 1 has no name",
    ),
    (
        "prompt no completion",
        lines(OK, '{"prompt":"Hi"}'),
        "a.jsonl",
        2,
        "no conversation found (its fields: prompt)",
    ),
    (
        "completion empty",
        lines(OK, '{"prompt":"Hi","completion":""}'),
        "a.jsonl",
        2,
        "completion is empty",
    ),
    (
        "prompt number",
        lines(OK, '{"prompt":3,"completion":"x"}'),
        "a.jsonl",
        2,
        "prompt is not text",
    ),
    (
        "alpaca no output",
        lines(OK, '{"instruction":"Do","input":""}'),
        "a.jsonl",
        2,
        "no conversation found (its fields: instruction)",
    ),
    (
        "sharegpt unknown from",
        lines(OK, '{"conversations":[{"from":"alien","value":"Hi"},{"from":"gpt","value":"Yo"}]}'),
        "a.jsonl",
        2,
        'unknown role "alien"',
    ),
    (
        "sharegpt no value",
        lines(OK, '{"conversations":[{"from":"human"},{"from":"gpt","value":"Yo"}]}'),
        "a.jsonl",
        2,
        "turn 1 has no text",
    ),
    ("text empty", lines(OK, '{"text":""}'), "a.jsonl", 2, "text is empty"),
    ("text number", lines(OK, '{"text":5}'), "a.jsonl", 2, "text is not text"),
    (
        "template kwargs unknown",
        lines(OK, chat(USER, ANSWER, more=',"chat_template_kwargs":{"zzz":1}')),
        "a.jsonl",
        2,
        "chat_template_kwargs.zzz",
    ),
    (
        "template kwargs list",
        lines(OK, chat(USER, ANSWER, more=',"chat_template_kwargs":[1]')),
        "a.jsonl",
        2,
        "chat_template_kwargs is not an object",
    ),
    (
        "latin-1",
        lines(OK) + b"\n" + '{"prompt":"Gr\xfc\xdfe","completion":"x"}'.encode("latin-1"),
        "a.jsonl",
        0,
        "line 2 has byte 0xfc",
    ),
    ("utf-16 mark", OK.encode("utf-16"), "a.jsonl", 0, "the mark of UTF-16"),
    ("utf-16 no mark", OK.encode("utf-16-le"), "a.jsonl", 0, "UTF-16 without a mark"),
    ("png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "a.jsonl", 0, "a PNG picture"),
    ("pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a.jsonl", 0, "a PDF document"),
    ("zip", b"PK\x03\x04" + b"\0" * 40, "a.jsonl", 0, "a zip archive"),
    ("broken gzip", gzip.compress(OK.encode())[:-6], "a.jsonl.gz", 0, "the package is broken"),
    ("gzip of zip", gzip.compress(b"PK\x03\x04" + b"\0" * 40), "a.jsonl.gz", 0, "a zip archive"),
    (
        "broken zstd",
        zstandard.compress(OK.encode() * 50)[:-4],
        "a.jsonl.zst",
        0,
        "its last frame does not end",
    ),
    (
        "broken parquet",
        b"PAR1" + b"\0" * 30 + b"PAR1",
        "a.parquet",
        0,
        "the Parquet file is broken",
    ),
    (
        "array comma",
        ("[" + OK + " " + OK + "]").encode(),
        "a.json",
        1,
        "a comma is missing between two examples",
    ),
    ("array unended", ("[" + OK + "," + OK).encode(), "a.json", 1, "its ] is missing"),
    (
        "array after end",
        ("[" + OK + "] x").encode(),
        "a.json",
        1,
        "text follows the end of the array",
    ),
    ("array of texts", b'["a","b"]', "a.json", 1, "not a JSON object"),
    (
        "pretty broken",
        b'{\n "messages": [\n  {"role": "user" "content": 1}\n ]\n}',
        "a.json",
        1,
        "a comma is missing",
    ),
    (
        "csv missing cell",
        b"prompt,completion\nHi,Yo\nHi\n",
        "a.csv",
        3,
        "1 cells in a table of 2 columns",
    ),
    (
        "csv extra cell",
        b"prompt,completion\nHi,Yo\nHi,Yo,more\n",
        "a.csv",
        3,
        "3 cells in a table of 2 columns",
    ),
    (
        "csv open quote",
        b'prompt,completion\nHi,Yo\nHi,"Yo\n',
        "a.csv",
        0,
        "not a table from line 3 on",
    ),
    ("csv head only", b"prompt,completion\n", "a.csv", 0, "the file is empty"),
    (
        "csv twice a column",
        b"prompt,prompt,completion\na,b,c\n",
        "a.csv",
        0,
        "two columns are called prompt",
    ),
    (
        "all held out / nothing",
        b'{"messages":[{"role":"user","content":"Hi"}]}',
        "a.jsonl",
        1,
        "no assistant turn to learn",
    ),
]


def rows() -> dict[str, int]:
    """How many rows each table has; the audit log only ever grows."""
    models = (model for model in apps.get_models() if model._meta.app_label != "audit")
    return {model._meta.label: model._default_manager.count() for model in models}


@pytest.mark.slow
def test_every_file_is_refused_at_its_line_and_leaves_nothing_but_itself(
    upload: Callable[..., Batch], read: Callable[[Batch], Batch], data_dir: Any
) -> None:
    assert len(CASES) >= 60 and len({name for name, *_ in CASES}) == len(CASES)
    before, wrong = rows(), []
    for name, data, filename, line, message in CASES:
        if not data:
            with pytest.raises(UploadRefusedError, match="The file is empty"):
                upload(data, file=File(io.BytesIO(data), name=filename))
            continue
        batch = read(upload(data, file=File(io.BytesIO(data), name=filename)))
        problems = list(batch.problems.all())
        told = [(one.line, one.message) for one in problems]
        fits = any(one.line == line and message in one.message and one.cure for one in problems)
        left = sorted(path.name for path in batch.directory.iterdir() if path.name != "read.jsonl")
        if batch.state != BatchState.REFUSED or not fits or "examples.jsonl" in left:
            wrong.append((name, batch.state, told[:2], left))
    assert wrong == []
    assert all(
        (data_dir / "batches" / str(batch.pk) / "source").stat().st_size == batch.size_bytes
        for batch in Batch.objects.all()
    )
    Batch.objects.all().delete()
    Job.objects.all().delete()
    assert BatchProblem.objects.count() == 0
    assert rows() == before
