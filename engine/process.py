"""What every engine process does about signals, its supervisor's death and exit codes."""

import ctypes
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")

DONE = 0
"""The output directory is complete."""
FAILED = 1
"""Something nobody foresaw; the last event is an error."""
BAD_INPUT = 2
"""The configuration or the data is wrong; the last event says where and why."""
DIVERGED = 3
"""The loss or the gradient was not finite; the last good state is kept."""
OUT_OF_MEMORY = 4
"""Memory ran out; the last event says what to lower."""
STOPPED = 143
"""Stopped on request (SIGTERM) after saving."""

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_SMALL_BLOCK_BYTES, _LARGE_BLOCK_BYTES = 1 << 20, 32 << 20
"""The larger one is the most that glibc itself would come to."""
_ITEMS_A_TRIM = 32
"""To trim takes milliseconds, and how much is free again depends on the size of an item."""
_KEPT_FREE_BYTES = 1 << 30
"""Free at the heap's end before glibc gives it back; left alone it does at 128 KiB, every time."""


def environment_set(*, hub: bool = False) -> None:
    """Set what torch and Hugging Face's libraries read once, when they are imported.

    hub: whether anything may be fetched from the hub; else everything is read from directories.
    """
    if not hub:
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    # Threads that spin while they wait make an engine several times slower where it shares its
    # cores with another one (measured: 3.4 times in training, up to fifty in a measurement).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class StopRequest:
    """Whether SIGTERM has asked this process to save and stop.

    `install()` must be called in the main thread. The flag is a plain attribute, for a handler
    that is interrupted by a second signal must not wait for a lock.
    """

    def __init__(self) -> None:
        self.requested = False

    def install(self) -> "StopRequest":
        """Make SIGTERM set the flag, and return this request."""
        signal.signal(signal.SIGTERM, self._handle)
        return self

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        self.requested = True


class Heap:
    """The C library's heap, where it is glibc's; elsewhere nothing happens.

    Blocks above a limit are mapped by themselves: they are given back as soon as they are free, but
    the kernel clears each of their pages when it is first touched. In the heap free blocks serve
    again at once, and leave holes where blocks that stay have come between.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._known = hasattr(self._library, "malloc_trim")

    def keep_small(self) -> None:
        """Map blocks from 1 MiB on by themselves, where no free piece of the heap is large enough:
        for what stays, such as gradients."""
        self._limit_set(_SMALL_BLOCK_BYTES)

    @contextmanager
    def activations(self) -> Iterator[None]:
        """Take blocks up to 32 MiB from the heap, where they come and go."""
        self._limit_set(_LARGE_BLOCK_BYTES)
        try:
            yield
        finally:
            self.keep_small()

    def trim(self) -> None:
        """Give back the pages of the heap that hold no block."""
        if self._known:
            self._library.malloc_trim(0)

    def trimming(self, items: Sequence[Item]) -> Iterator[Item]:
        """Yield items, whose use makes blocks and lets others go, and trim on the way and after."""
        for number, item in enumerate(items):
            if number % _ITEMS_A_TRIM == 0:
                self.trim()
            yield item
        self.trim()

    def _limit_set(self, size_bytes: int) -> None:
        if self._known:
            self._library.mallopt(_M_MMAP_THRESHOLD, size_bytes)
            self._library.mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE_BYTES)


def _die() -> None:
    """End this process at once, with its whole group where the group is its own."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(128 + signal.SIGKILL)


def _watch(descriptor: int) -> None:
    """Block until the pipe's last write end is closed, then die."""
    while True:
        try:
            if not os.read(descriptor, 4096):
                break
        except OSError:
            break
    _die()


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died between the two calls, so no signal will come
        _die()


def supervise_self(descriptor: int | None) -> None:
    """Tie this process's life to its supervisor's; without a descriptor do nothing.

    `descriptor` is the read end of a pipe whose only write end the supervisor holds: its end of
    file means that the supervisor is dead. The kernel's parent-death signal stands beside it, as it
    also reaches a process that is stuck in native code. That signal follows the THREAD that
    started this process, so a supervisor must start engines from a thread that outlives them.
    """
    if descriptor is None:
        return
    os.set_inheritable(descriptor, False)
    die_with_parent()
    watcher = threading.Thread(target=_watch, args=(descriptor,), name="supervisor", daemon=True)
    watcher.start()
