"""What an exception of a library means to the user."""

import errno

import pytest

from engine.attempt import failure_of
from engine.process import FAILED, OUT_OF_MEMORY


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 GB"),
        RuntimeError("unable to mmap 238623944 bytes from file <w>: Cannot allocate memory (12)"),
        RuntimeError("could not create a primitive"),
        RuntimeError("CUDA error: out of memory"),
    ],
)
def test_memory_that_ran_out_is_told_as_that(error: Exception) -> None:
    failure = failure_of(error)
    assert (failure.exit_code, failure.where) == (OUT_OF_MEMORY, "memory")


@pytest.mark.parametrize("error", [ValueError("out of memory"), OSError(errno.EACCES, "no")])
def test_other_failures_are_not(error: Exception) -> None:
    assert failure_of(error).exit_code == FAILED
