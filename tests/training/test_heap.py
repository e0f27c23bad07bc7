"""Where the C library puts blocks, seen by its own count in a process of its own."""

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
from training.process import Heap

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

class Counts(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

library.mallinfo2.restype = Counts

def mapped_by_themselves(size):
    before = library.mallinfo2().hblks
    library.malloc(size)
    return library.mallinfo2().hblks - before

heap = Heap()
heap.keep_small()
print(mapped_by_themselves(2 << 20), mapped_by_themselves(500_000))
heap.keep_large()
print(mapped_by_themselves(2 << 20), mapped_by_themselves(40 << 20))

def resident_pages():
    return int(open("/proc/self/statm").read().split()[1])

blocks = [library.malloc(1 << 20) for _ in range(100)]
for block in blocks:
    ctypes.memset(block, 1, 1 << 20)
for block in blocks[:-1]:  # the last one stays on top and holds the heap
    library.free(block)
before = resident_pages()
heap.trim()
print((before - resident_pages()) * 4096 > 90 << 20)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="not glibc")
def test_large_blocks_are_mapped_or_from_the_heap_and_free_pages_go_back() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert told.stdout.split() == ["1", "0", "0", "1", "True"], told.stderr[-2000:]
