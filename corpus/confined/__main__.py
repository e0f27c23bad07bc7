"""`python -m corpus.confined`: one JSON request a line on standard input, its answer on output."""

import json
import os
import sys

from corpus.confined.answering import answer
from corpus.confined.limits import confine


def main() -> None:
    """Answer until standard input ends."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is not an answer
    confine()

    def tell(message: object) -> None:
        out.write(json.dumps(message).encode() + b"\n")

    for line in sys.stdin.buffer:
        tell(answer(json.loads(line), lambda stage: tell({"stage": stage})))


if __name__ == "__main__":
    main()
