"""`python -m tests.training.rank_program PLACE`: a rank that does many runs, one after the other.

DIR/runs.json lists [run directory, attempt, state or null]. So a test pays once for two processes
that import torch.
"""

import json
import sys
from pathlib import Path

from engine.attempt import Attempt, config_read
from engine.process import StopRequest, supervise_self
from training.config import RunConfig
from training.ranks.group import ranks_join
from training.ranks.launch import Place
from training.run import run


def main() -> None:
    """Do every run."""
    place = Place(**json.loads(sys.argv[1]))
    supervise_self(place.launcher_fd)
    ranks = ranks_join(place)
    for directory, number, state in json.loads((Path(place.directory) / "runs.json").read_text()):
        resume = None if state is None else Path(state)
        attempt = Attempt(Path(directory), number, resume, StopRequest(), silent=not ranks.first)
        run(RunConfig.from_json(config_read(Path(directory))), attempt, ranks)
        ranks.wait()  # before the next run reads what this one wrote


if __name__ == "__main__":
    main()
