"""What the processes of one run do together: meet, share a step, sum gradients, agree.

Every rank goes through the same steps with the whole curriculum in hand, takes its share of each
step's conversations, and runs its backwards alone. The gradients are summed once a step, in
float32, so ranks may have different numbers of decisions: with a reduction in every backward, as
plain DDP does, the gradients of such ranks went apart without an error. A loss is divided by the
decision tokens of the whole step, so the sum is the gradient that one process would have.

Messages are JSON and go over gloo on the CPU; gradients go over NCCL where there are GPUs.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from transformers import set_seed

from engine.attempt import EngineError
from engine.process import FAILED
from training.config import BUCKET_NUMBERS
from training.ranks.launch import Place

_PATIENCE = timedelta(hours=1)
"""How long a rank waits for the others, as while the first one writes a large state."""


class Ranks:
    """The processes that share a run, seen from one of them; alone by default."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count

    @property
    def first(self) -> bool:
        """Whether this rank is the one that writes events, states and the output."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other rank."""
        return self.count == 1

    def seed(self, seed: int, step: int = 0) -> None:
        """Give every rank but the first its own random numbers, for dropout."""
        if not self.first or step:
            digest = hashlib.blake2b(f"{seed}/{self.rank}/{step}".encode(), digest_size=4)
            set_seed(int.from_bytes(digest.digest(), "big"))

    def directory(self, state: Path) -> Path:
        """Return where in a state this rank keeps what is its own: the first one in the state."""
        return state if self.first else state / f"rank-{self.rank}"

    def share(self, costs: Sequence[int]) -> list[int]:
        """Return which of a step's examples this rank takes, in their order; maybe none."""
        return shares(costs, self.count)[self.rank]

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, by rank; any JSON, floats exact. All ranks must call."""
        if self.alone:
            return [value]
        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = torch.zeros(self.count, dtype=torch.int64)
        dist.all_gather_single(sizes, torch.tensor([len(data)]))
        longest = int(sizes.max())
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(data)] = data
        gathered = torch.zeros(self.count * longest, dtype=torch.uint8)
        dist.all_gather_single(gathered, padded)
        rows = gathered.view(self.count, longest).numpy()
        return [json.loads(bytes(row[:size])) for row, size in zip(rows, sizes, strict=True)]

    def agree(self, value: Any) -> Any:
        """Return the first rank's value, for what each would decide by its own clock."""
        return self.gather(value if self.first else None)[0]

    def largest(self, number: int) -> int:
        """Return the largest of all ranks' numbers."""
        if self.alone:
            return number
        tensor = torch.tensor([number])
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return int(tensor)

    def wait(self) -> None:
        """Go on when every rank is here."""
        self.largest(0)

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return named numbers summed over the ranks, also those that only some ranks have."""
        totals: dict[str, float] = {}
        for one in self.gather(dict(values)):
            for name, value in one.items():
                totals[name] = totals.get(name, 0) + value
        return totals

    @torch.no_grad()
    def tensors_sum(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return named tensors summed over the ranks, also those that only some ranks have."""
        if self.alone:
            return dict(tensors)
        shapes: dict[str, list[int]] = {}
        for one in self.gather({name: list(tensor.shape) for name, tensor in tensors.items()}):
            shapes |= one
        device = "cuda" if torch.cuda.is_available() else "cpu"
        totals = {}
        for name, shape in sorted(shapes.items()):
            own = tensors.get(name)
            totals[name] = torch.zeros(shape, device=device) if own is None else own
            dist.all_reduce(totals[name])
        return totals

    def same_check(self, what: str, value: Any) -> None:
        """Refuse to go on with copies that went apart; EngineError where a rank's value differs."""
        values = self.gather(value)
        if any(other != values[0] for other in values):
            message = f"the processes hold different copies of the model: {what} is {values}"
            cure = "Start the run again from the last state; if it happens once more, report it."
            raise EngineError(FAILED, "ranks", message, cure)

    @torch.no_grad()
    def gradients_sum(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over the ranks.

        A gradient that only some ranks have counts as zero on the others; one that no rank has
        stays None, for the optimizer must pass over it as one process would.
        """
        if self.alone:
            return
        trained = [p for p in parameters if p.requires_grad]
        present = torch.tensor([p.grad is not None for p in trained], dtype=torch.uint8)
        dist.all_reduce(present, dist.ReduceOp.MAX)
        summed = [p for p, there in zip(trained, present.tolist(), strict=True) if there]
        for bucket in _buckets(summed):
            flat = torch.cat([_flat_gradient(p) for p in bucket])  # (numbers,), float32
            dist.all_reduce(flat)
            for p, piece in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
                p.grad = piece.view(p.shape).to(p.dtype)


ALONE = Ranks()


def ranks_join(place: Place) -> Ranks:
    """Meet the other ranks of the run; returns when all are there."""
    store = dist.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1",
        place.port,
        place.count,
        is_master=place.rank == 0,
        timeout=_PATIENCE,
        master_listen_fd=place.listener_fd,
    )
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(
        backend, store=store, rank=place.rank, world_size=place.count, timeout=_PATIENCE
    )
    return Ranks(place.rank, place.count)


def shares(costs: Sequence[int], count: int) -> list[list[int]]:
    """Deal out examples so that the sums of their costs are near each other; by rank, in order.

    The longest first, each to the rank with the least so far (Graham 1969: the busiest rank has
    at most 4/3 of what the best deal would give it). The same costs always give the same deal.
    """
    dealt: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for index in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        rank = loads.index(min(loads))
        dealt[rank].append(index)
        loads[rank] += costs[index]
    return [sorted(indices) for indices in dealt]


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Yield parameters in their order, so many that a bucket is full or holds a single one."""
    bucket: list[nn.Parameter] = []
    numbers = 0
    for parameter in parameters:
        if bucket and numbers + parameter.numel() > BUCKET_NUMBERS:
            yield bucket
            bucket, numbers = [], 0
        bucket.append(parameter)
        numbers += parameter.numel()
    if bucket:
        yield bucket


def _flat_gradient(parameter: nn.Parameter) -> torch.Tensor:
    gradient = parameter.grad
    if gradient is None:
        return torch.zeros(parameter.numel(), device=parameter.device)
    return gradient.reshape(-1).float()
