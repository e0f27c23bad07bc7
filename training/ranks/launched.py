"""`python -m training.ranks.launched PLACE`: one of the processes that share a run.

training.ranks.launch starts it. The first rank writes events, states and the output; the others say
nothing. Whichever fails tells the launcher why, and the launcher ends them all.
"""

import json
import os
import signal
import sys
from pathlib import Path

from engine.attempt import Attempt, StoppedError, config_read, failure_tell
from engine.packages import packages_hide
from engine.process import DONE, STOPPED, StopRequest, supervise_self
from training.config import RunConfig
from training.ranks.launch import Place, report_write


def main(place: Place) -> int:
    """Do this rank's share of the run and return its exit code."""
    stop = signals_take(first=place.rank == 0)
    supervise_self(place.launcher_fd)
    try:
        attempt = Attempt(
            Path(place.directory),
            place.attempt,
            None if place.resume is None else Path(place.resume),
            stop,
            silent=place.rank > 0,
        )
        config = RunConfig.from_json(config_read(attempt.job_directory))
        from training.ranks.group import ranks_join
        from training.run import run

        run(config, attempt, ranks_join(place))
    except StoppedError:
        return STOPPED
    except BaseException as error:  # the launcher must hear of everything
        failure = failure_tell(f"training, process {place.rank + 1} of {place.count}", error)
        report_write(place.report_fd, failure)
        return failure.exit_code
    return DONE


def signals_take(*, first: bool) -> StopRequest:
    """Take SIGTERM in the first rank, which tells the others; let the launcher handle Ctrl-C."""
    stop = StopRequest()
    if first:
        stop.install()
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # the launcher blocked it
    return stop


if __name__ == "__main__":
    packages_hide()
    code = main(Place(**json.loads(sys.argv[1])))
    sys.stderr.flush()
    os._exit(code)  # all is on disk, and the threads of a communication library may not end
