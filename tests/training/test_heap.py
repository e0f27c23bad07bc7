"""Where the C library puts blocks, seen in the memory map of a process of its own."""

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

from engine.process import Heap

PROGRAM = """
import ctypes
from engine.process import Heap

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def in_heap(size):
    block = library.malloc(size)
    (area,) = [line.split()[0] for line in open("/proc/self/maps") if line.endswith("[heap]\\n")]
    first, last = (int(end, 16) for end in area.split("-"))
    return first <= block < last

def resident_pages():
    return int(open("/proc/self/statm").read().split()[1])

heap = Heap()
heap.keep_small()
print(in_heap(500_000), in_heap(2 << 20))
with heap.activations():
    pass
print(in_heap(2 << 20))
with heap.activations():
    print(in_heap(2 << 20), in_heap(40 << 20))
    blocks = [library.malloc(1 << 20) for _ in range(100)]
    for block in blocks:
        ctypes.memset(block, 1, 1 << 20)
    before = resident_pages()
    for block in blocks:
        library.free(block)
    print((before - resident_pages()) * 4096 > 90 << 20)
heap.trim()
print((before - resident_pages()) * 4096 > 90 << 20)
"""


def test_the_heap_serves_activations_and_gives_its_pages_back_when_it_is_told() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    expected = ["True False", "False", "True False", "False", "True"]
    assert told.stdout.splitlines() == expected, told.stderr[-2000:]


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())  # neither function is there
    heap = Heap()
    heap.keep_small()
    with heap.activations():
        heap.trim()
