"""What workers take from Redis: a message that is not one of the portal's is dropped, never fatal.

Celery ends the whole worker at a message that is not JSON or not an envelope of its own (and puts
some of them back, for the next worker to end at); one whose body is not what a task is called with
keeps its place in the worker for good. What is dropped here loses nothing: the sweeper rings again
for every job that waits.
"""

import logging
import reprlib
from base64 import b64decode
from typing import Annotated, Any, Literal

import msgspec
from kombu.transport import redis

logger = logging.getLogger(__name__)

_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading something made up may raise; msgspec's errors are ValueErrors."""

_Word = Annotated[str, msgspec.Meta(pattern=r"\A[ -~]{1,200}\Z")]
_Route = Annotated[str, msgspec.Meta(pattern=r"\A[ -~]{0,200}\Z")]
_Shown = Annotated[str, msgspec.Meta(max_length=10_000)]


class _Place(msgspec.Struct):
    exchange: _Route
    routing_key: _Route


class _Properties(msgspec.Struct):
    delivery_tag: _Word
    delivery_info: _Place
    body_encoding: Literal["base64"]
    correlation_id: _Word | None = None
    reply_to: _Word | None = None
    delivery_mode: Literal[1, 2] = 2
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)] = 0


class _Headers(msgspec.Struct):
    task: _Word
    id: _Word
    lang: Literal["py"] = "py"
    eta: _Word | None = None
    expires: _Word | None = None
    retries: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    root_id: _Word | None = None
    parent_id: _Word | None = None
    argsrepr: _Shown | None = None
    kwargsrepr: _Shown | None = None
    origin: _Route | None = None
    ignore_result: bool | None = None


class _Envelope(
    msgspec.Struct, rename={"content_type": "content-type", "encoding": "content-encoding"}
):
    body: str
    content_type: Literal["application/json"]
    encoding: Literal["utf-8"]
    headers: _Headers
    properties: _Properties


class _Embedded(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be called after a task: nothing, for what follows what is told by the database."""

    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


_Body = tuple[list[Any], dict[str, Any], _Embedded]


def message_read(raw: bytes) -> bytes:
    """Return a task's message made anew of the fields that are known, their types checked.

    Raises one of `_UNREADABLE` where it is not one.
    """
    known = msgspec.json.decode(raw, type=_Envelope)
    msgspec.json.decode(b64decode(known.body, validate=True), type=_Body)
    return msgspec.json.encode(known)


def _taken(response: Any, **_: Any) -> tuple[bytes, bytes] | None:
    """What BRPOP answered: queue and message; None where there is none to be worked on."""
    if not response:
        return None
    queue, raw = response
    try:
        return queue, message_read(raw)
    except _UNREADABLE as error:
        _tell_dropped(f"queue {queue.decode(errors='replace')}", error, raw)
        return None


class QoS(redis.QoS):
    """The messages that a worker took and has not begun, which a later one puts back."""

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put one back; one that cannot be read is dropped."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except _UNREADABLE as error:
            _tell_dropped(self.unacked_key, error, tag)
            self._remove_from_indices(tag).execute()


class Channel(redis.Channel):
    """Reads queues, and what workers tell each other."""

    QoS = QoS

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)
        client.set_response_callback("BRPOP", _taken)
        return client

    def _receive_one(self, client: Any) -> Any:
        try:
            return super()._receive_one(client)
        except _UNREADABLE as error:
            _tell_dropped("a broadcast", error, b"")
            return True


class Transport(redis.Transport):
    """Redis for workers that take only what is a task's message."""

    Channel = Channel


def _tell_dropped(where: str, error: Exception, message: Any) -> None:
    logger.error(
        "a message that no task understands was dropped from %s: %s: %.300s (%d bytes: %s)",
        where,
        type(error).__name__,
        error,
        len(message),
        reprlib.repr(message),
    )
