"""The kinds of jobs. Each app registers its own in its `ready()`, so jobs knows none of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from engine.errors import PlacedError
from engine.events import Event
from engine.seals import Seal
from ftportal.jobs.models import Job, JobState

Queue = Literal["train", "evaluate", "default"]

WORKER_QUEUES: tuple[frozenset[str], ...] = (
    frozenset({"train", "evaluate"}),
    frozenset({"default"}),
)
"""Which queues share a worker: engines that want the accelerator share one, the rest another."""


class JobRefusedError(PlacedError):
    """A job cannot be started."""


def nothing_to_sweep() -> None:
    """For kinds whose follow-ups cannot be lost."""


def no_seals(job: Job) -> list[Seal]:
    """For kinds whose engine reads nothing that the database has a hash of."""
    return []


def no_events(job: Job, events: list[Event]) -> None:
    """For kinds that want nothing from the events beside the progress that jobs records itself."""


@dataclass(frozen=True, kw_only=True)
class JobKind:
    """What jobs must know of one kind of work."""

    name: str
    """As in `Job.kind`."""
    word: str = ""
    """What people call it; its name where empty."""
    queue: Queue
    """Celery's queue; evaluations are preferred to training by the worker that does both."""
    module: str
    """The engine: `python -m <module> DIR`."""
    config: Callable[[Job], dict[str, Any]]
    """Becomes config.json when the first attempt starts; may raise JobRefusedError."""
    seals: Callable[[Job], list[Seal]] = no_seals
    """Hashes of what the engine reads, as the database holds them."""
    on_finish: Callable[[Job], None]
    """Called after the job has ended in any of ENDED_STATES, again and again until it returns
    without raising, so it must be idempotent."""
    on_events: Callable[[Job, list[Event]], None] = no_events
    """Called with new events inside the transaction that has checked the fence: each event is
    seen once, in order, whichever attempt wrote it. A resumed attempt repeats the steps after the
    state that it started from."""
    restricted_by: tuple[str, ...] = ()
    """Ways from a job of this kind to the language model whose people alone may see it, where it is
    restricted: lookups over the reverse relations of the tables that have such jobs."""
    sweep: Callable[[], None] = nothing_to_sweep
    """Called by beat: finds follow-ups that were lost between two floors. Idempotent."""
    resumable: bool = False
    """Whether the engine takes `--resume STATE`."""
    final_exit_codes: frozenset[int] = frozenset()
    """Exit codes after which the same configuration cannot end otherwise: such a job is never
    started again. Empty where what was wrong may lie outside it."""


_kinds: dict[str, JobKind] = {}


def register(kind: JobKind) -> None:
    """Make a kind known; a second kind with the same name replaces the first."""
    _kinds[kind.name] = kind
    Job.restricted_by = tuple(dict.fromkeys((*Job.restricted_by, *kind.restricted_by)))


def kind_of(name: str) -> JobKind:
    """The kind called `name`; raises LookupError where no app has registered it."""
    try:
        return _kinds[name]
    except KeyError:
        raise LookupError(f"no app has registered jobs of the kind {name!r}") from None


def can_start_again(job: Job) -> bool:
    """Whether a person may queue an ended job again: the one rule, on every page."""
    kind = _kinds.get(job.kind)
    return (
        kind is not None
        and job.state in (JobState.FAILED, JobState.CANCELLED)
        and job.exit_code not in kind.final_exit_codes
    )


def kinds() -> list[JobKind]:
    """All kinds, in the order of their registration."""
    return list(_kinds.values())


def shared_queues(queue: str) -> frozenset[str]:
    """The queues that the worker which serves `queue` serves too."""
    return next((group for group in WORKER_QUEUES if queue in group), frozenset({queue}))
