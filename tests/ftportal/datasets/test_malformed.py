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
RECORDS = [
    ("not json", "hello", "a value is missing"),
    ("cut off", OK[:-2], "a comma is missing"),
    ("two objects on a line", OK + OK, "text follows the end of the value"),
    ("trailing comma", OK + ",", "text follows the end of the value"),
    ("single quotes", "{'messages': []}", "a key in double quotes is missing"),
    ("python literals", chat(USER, ANSWER, more=',"x":None'), "a value is missing"),
    ("bare number", "42", "not a JSON object"),
    ("bare string", '"hello"', "not a JSON object"),
    ("a list", "[1,2]", "not a JSON object"),
    ("null", "null", "not a JSON object"),
    ("NaN", chat(USER, ANSWER, more=',"score":NaN'), "NaN is not a number"),
    ("Infinity", chat(USER, ANSWER, more=',"score":-Infinity'), "-Infinity is not a number"),
    ("1e400", chat(USER, ANSWER, more=',"score":1e400'), "1e400 is not a number"),
    (
        "duplicate key",
        '{"messages":[],"messages":[' + USER + "," + ANSWER + "]}",
        'the key "messages" stands twice',
    ),
    (
        "duplicate key in turn",
        chat('{"role":"user","role":"system","content":"Hi"}', ANSWER),
        'the key "role" stands twice',
    ),
    (
        "control character",
        '{"messages":[{"role":"user","content":"a\tb"},' + ANSWER + "]}",
        "control character stands in a string",
    ),
    (
        "bad escape",
        '{"messages":[{"role":"user","content":"a\\qb"},' + ANSWER + "]}",
        "a backslash is followed by",
    ),
    (
        "lone surrogate",
        '{"messages":[{"role":"user","content":"\\ud800"},' + ANSWER + "]}",
        "half of a surrogate pair",
    ),
    (
        "NUL",
        '{"messages":[{"role":"user","content":"a\\u0000"},' + ANSWER + "]}",
        "a NUL character",
    ),
    ("too deep", '{"messages":' + deep(3000) + "}", "nested more than 64 deep"),
    ("no messages", '{"messages":[]}', "messages is empty"),
    ("messages not list", '{"messages":{"role":"user"}}', "turn 1 has no text"),
    ("messages text no json", '{"messages":"hello"}', "messages, as text: not JSON"),
    ("turn not object", '{"messages":["Hi",' + ANSWER + "]}", "turn 1 is not a JSON object"),
    ("unknown role", chat('{"role":"boss","content":"Hi"}', ANSWER), 'unknown role "boss"'),
    ("role missing", chat('{"content":"Hi"}', ANSWER), "unknown role null"),
    ("role number", chat('{"role":3,"content":"Hi"}', ANSWER), "unknown role 3"),
    ("content missing", chat('{"role":"user"}', ANSWER), "turn 1 has no text"),
    ("content number", chat('{"role":"user","content":5}', ANSWER), "turn 1 has no text"),
    ("content null user", chat('{"role":"user","content":null}', ANSWER), "turn 1 has no text"),
    ("no assistant", chat(USER), "no assistant turn to learn"),
    ("only assistant", chat(ANSWER), "nothing stands before it"),
    (
        "empty answer",
        chat(USER, '{"role":"assistant","content":"  "}'),
        "turn 2 is to be learnt but is empty",
    ),
    (
        "all masked",
        chat(USER, '{"role":"assistant","content":"Yo","train":false}'),
        "no assistant turn to learn",
    ),
    (
        "marks disagree",
        chat(USER, '{"role":"assistant","content":"Yo","train":true,"weight":0}'),
        "marks disagree (train and weight)",
    ),
    (
        "weight half",
        chat(USER, '{"role":"assistant","content":"Yo","weight":0.5}'),
        "weight is 0.5",
    ),
    (
        "mark on user",
        chat('{"role":"user","content":"Hi","train":true}', ANSWER),
        "a user turn is marked",
    ),
    (
        "mark no bool",
        chat(USER, '{"role":"assistant","content":"Yo","train":"maybe"}'),
        'train is "maybe"',
    ),
    (
        "image block",
        chat('{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}', ANSWER),
        'the type "image_url"',
    ),
    ("images field", chat(USER, ANSWER, more=',"images":["a.png"]'), "the field images"),
    (
        "audio",
        chat('{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}', ANSWER),
        'the type "input_audio"',
    ),
    (
        "tool args list",
        chat(
            USER,
            '{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]}',
        ),
        "the arguments of f are not a JSON object",
    ),
    (
        "tool args broken",
        chat(
            USER,
            '{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{a"}}]}',
        ),
        "the arguments of f are not a JSON object",
    ),
    (
        "tool args NaN",
        chat(
            USER,
            '{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{\\"a\\":NaN}"}}]}',
        ),
        "arguments: NaN is not a number",
    ),
    (
        "tool no name",
        chat(
            USER,
            '{"role":"assistant","content":null,"tool_calls":[{"function":{"arguments":"{}"}}]}',
        ),
        "a tool call has no function name",
    ),
    (
        "tool_calls not list",
        chat(USER, '{"role":"assistant","content":null,"tool_calls":{"f":1}}'),
        "tool_calls is not a list",
    ),
    ("tools not list", chat(USER, ANSWER, more=',"tools":"f"'), "tools, as text: not JSON"),
    (
        "tools no name",
        chat(USER, ANSWER, more=',"tools":[{"type":"function"}]'),
        "tools: number 1 has no name",
    ),
    ("prompt no completion", '{"prompt":"Hi"}', "no conversation found (its fields: prompt)"),
    ("completion empty", '{"prompt":"Hi","completion":""}', "completion is empty"),
    ("prompt number", '{"prompt":3,"completion":"x"}', "prompt is not text"),
    (
        "alpaca no output",
        '{"instruction":"Do","input":""}',
        "no conversation found (its fields: instruction)",
    ),
    (
        "sharegpt unknown from",
        '{"conversations":[{"from":"alien","value":"Hi"},{"from":"gpt","value":"Yo"}]}',
        'unknown role "alien"',
    ),
    (
        "sharegpt no value",
        '{"conversations":[{"from":"human"},{"from":"gpt","value":"Yo"}]}',
        "turn 1 has no text",
    ),
    ("text empty", '{"text":""}', "text is empty"),
    ("text number", '{"text":5}', "text is not text"),
    (
        "template kwargs unknown",
        chat(USER, ANSWER, more=',"chat_template_kwargs":{"zzz":1}'),
        "chat_template_kwargs.zzz",
    ),
    (
        "template kwargs list",
        chat(USER, ANSWER, more=',"chat_template_kwargs":[1]'),
        "chat_template_kwargs is not an object",
    ),
]
"""(what, a line that stands below a good one, what is said of it)."""
FILES = [
    ("empty file", b"", "a.jsonl", 0, "the file is empty"),
    ("only spaces", b"  \n \n", "a.jsonl", 0, "the file is empty"),
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
"""(what, content, name of the file, line, what is said of it); line 0 is the whole file."""
CASES = [(name, lines(OK, line), "a.jsonl", 2, words) for name, line, words in RECORDS] + FILES


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
