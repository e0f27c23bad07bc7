"""What a confined process may take. The kernel holds it to that, whatever code runs there."""

import math
import resource
import time

MEMORY_BYTES = 3 << 30
"""The largest tokenizers take a sixth of it; data and heap, not files that are mapped."""
CHECK_SECONDS = 5
"""Of processor time for all files of a model; a tokenizer of 55 MB takes three."""
TRY_SECONDS = 1
"""For a few short conversations, which take milliseconds."""
SHOW_SECONDS = 10
"""For a page of examples."""


def confine() -> None:
    """Limit this process for good: memory, no file written, no core file."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    for none in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(none, (0, 0))


def seconds_allow(seconds: int) -> None:
    """Let the kernel end this process once it has used so much more processor time."""
    until = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))
