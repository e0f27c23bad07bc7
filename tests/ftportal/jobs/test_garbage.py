"""Messages that no task understands, in a real Redis before a real worker."""

import base64
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from ftportal.jobs.broker import message_read
from ftportal.jobs.models import Job, JobState
from tests.ftportal.jobs.processes import Portal, fresh, wait_for

QUEUES = ("default", "evaluate", "train")
EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
RAW = {
    "nothing": b"",
    "not JSON": b"hello",
    "binary": b"\xff\x00\x80\xfe",
    "half a message": b'{"body": "W1tdLCB7',
    "a number": b"5",
    "endless digits": b"9" * 5000,
    "a list": b"[]",
    "null": b"null",
    "an empty object": b"{}",
    "5 MB of letters": b"x" * 5_000_000,
    "5 MB of JSON": json.dumps({"body": "x" * 5_000_000}).encode(),
    "deep": b"[" * 100_000,
    "deeper and closed": b'{"headers":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a type of kombu's": b'{"__type__": "bytes", "__value__": 5}',
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtin\x94.",
}
BODIES: dict[str, Any] = {
    "null": None,
    "a number": 5,
    "an object": {},
    "short": [[]],
    "long": [[], {}, EMBEDDED, 1],
    "arguments that are an object": [{"job_id": "x"}, {}, EMBEDDED],
    "named arguments that are a list": [[], [], EMBEDDED],
    "nothing embedded": [[], {}, None],
    "a list embedded": [[], {}, [1]],
    "something to call": [[], {}, {**EMBEDDED, "callbacks": [1]}],
    "names of the request's own": [[], {}, {"get": 5, "update": 3}],
}
FOR_THE_TASK: dict[str, Any] = {
    "too many arguments": [[1, 2, 3], {}, EMBEDDED],
    "too few": [[], {}, EMBEDDED],
    "unknown names": [[], {"nobody": 1}, EMBEDDED],
    "not a job": [["no-such-job"], {}, EMBEDDED],
    "endless digits": [["9" * 5000], {}, EMBEDDED],
    "a list": [[[1]], {}, EMBEDDED],
    "NUL": [["\0"], {}, EMBEDDED],
}
BROADCASTS = (
    *(b"hello", b"5", b"[]", b"[" * 100_000, b"{}", b'{"properties": {}}'),
    *(b'{"__type__": "bytes", "__value__": 5}', b'{"__type__": [], "__value__": 5}'),
)
ODD: tuple[Any, ...] = (
    *(None, 5, -1, 1e308, True, [], [[1]], {}),
    *("", "word", "9" * 5000, "9999-12-31T23:59:59", "\0", "\ud800", "x" * 100_000),
)


@pytest.fixture
def good(portal: Portal) -> dict[str, Any]:
    """A message as the portal sends it, for a job that does not exist."""
    portal.celery.send_task("jobs.finish", args=["0" * 32], queue="train")
    message: dict[str, Any] = json.loads(_redis(portal).lpop("train"))
    return message


def _redis(portal: Portal) -> Any:
    return redis.Redis(unix_socket_path=str(portal.socket))


def _with_body(good: dict[str, Any], body: Any) -> bytes:
    packed = base64.b64encode(json.dumps(body).encode()).decode()
    return json.dumps({**good, "body": packed}).encode()


def _mutants(good: dict[str, Any]) -> Iterator[bytes]:
    """The message with each of its fields, at any depth, missing and of every odd value."""
    for path in list(_paths(good)):
        for value in (_mutants, *ODD):  # a function: take the field out
            mutant = copy.deepcopy(good)
            holder: Any = mutant
            for name in path[:-1]:
                holder = holder[name]
            if value is _mutants:
                del holder[path[-1]]
            else:
                holder[path[-1]] = value
            yield json.dumps(mutant).encode()


def _paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, (*path, name))


@pytest.mark.slow
def test_no_message_ends_or_blocks_a_worker(
    portal: Portal, submit: Callable[..., Job], good: dict[str, Any]
) -> None:
    odd = [_with_body(good, body) for body in (*BODIES.values(), *FOR_THE_TASK.values())]
    odd += [json.dumps({**good, "body": body}).encode() for body in ("no base64!", "bm8gSlNPTg==")]
    taken, refused = _sorted([*RAW.values(), *odd, *_mutants(good)])
    assert len(refused) > 200
    assert len(taken) > len(FOR_THE_TASK)
    store = _redis(portal)
    for queue in QUEUES:
        store.lpush(queue, *refused)
    store.lpush("train", *taken)
    store.hset("unacked", mapping={"one": "not JSON", "two": "5", "three": "[[], 1, {}]"})
    store.zadd("unacked_index", dict.fromkeys(("one", "two", "three"), 0))
    job = submit(steps=1)

    worker = portal.worker_start(queues=",".join(QUEUES), concurrency=4)
    for word in BROADCASTS:
        assert store.publish("/0.celery.pidbox", word) == 1
    wait_for(lambda: fresh(job).is_settled or worker.poll() is not None, why="the job's end")
    assert worker.poll() is None
    assert fresh(job).state == JobState.SUCCEEDED
    wait_for(lambda: not any(map(portal.messages_waiting, QUEUES)), why="empty queues")
    assert store.hlen("unacked") == store.zcard("unacked_index") == 0

    later = [submit(steps=1000, step_seconds=0.05) for _ in range(4)]
    running = JobState.RUNNING
    wait_for(lambda: all(fresh(one).state == running for one in later), why="all four places")
    assert worker.poll() is None
    log = (portal.folder / "worker-one.log").read_text(errors="replace")
    for queue in QUEUES:
        assert log.count(f"was dropped from queue {queue}") == len(refused)
    assert "Unrecoverable" not in log


def _sorted(messages: list[bytes]) -> tuple[set[bytes], list[bytes]]:
    """Messages that a task is called with, each once, and those that are refused."""
    taken, refused = set(), []
    for message in messages:
        try:
            taken.add(message_read(message))
        except (ValueError, RecursionError):
            refused.append(message)
    return taken, refused


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_message_is_refused(name: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        message_read(RAW[name])


@pytest.mark.slow
def test_messages_of_the_portal_pass_as_they_are(good: dict[str, Any]) -> None:
    passed = json.loads(message_read(json.dumps(good).encode()))
    assert passed["body"] == good["body"]
    for part in ("headers", "properties"):
        assert passed[part].items() <= good[part].items()
        assert passed[part]
