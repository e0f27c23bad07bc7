"""The effective rank of what a session changed: ΔW = W − W_parent, matrix by matrix.

With σ the singular values of ΔW: the entropy rank exp(H(p)), p = σ/Σσ, H = −Σ p ln p (Roy and
Vetterli, "The effective rank", 2007), and the rank that holds 90 % of Σσ². Both lie between 1 and
the smaller side. The singular values come from the eigenvalues of the smaller Gram matrix in
float64: right to about 1e-8 of the largest, which is below what float32 weights resolve. Where the
change is LoRA's product they come from the triangles of its factors, which is exact and takes next
to nothing; what merging rounds is left out there.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.tensornames import TensorName, is_projected, layers_spread
from training.ahead.passes import rank_operations
from training.measures.displacement import Reference
from training.tensors.parts import whole_tensor
from training.tensors.weights import StoredWeights

ENERGY_SHARE = 0.9
SIDE_MAX = 16_384
"""Matrices whose smaller side is longer are left out: the Gram matrix alone would be 2 GiB."""
_PART_ENTRIES = 1 << 22
_GRAM_COLUMNS = 4
"""Parts of a Gram matrix's columns: with 4, five eighths of it are computed, its upper triangle."""
_ONE_THREAD_SIDE_MAX = 1024
"""Smaller matrices are measured by one thread. Two are 1.4 times as fast on SmolLM2's while nobody
else computes, and five to a hundred times as slow where somebody does: they wait for each other."""

TOO_LARGE = f"its smaller side is above {SIDE_MAX:,}"
NOT_MOVED = "it did not move"
NO_TIME = "measuring it would have taken more than its share of the session's time"
STOPPED = "the session was asked to stop"


@dataclass(frozen=True, kw_only=True)
class MatrixRank:
    """The effective rank of one matrix's change, or why there is none."""

    entropy_rank: float | None = None
    rank_90: int | None = None
    """The fewest singular values whose squares hold 90 % of Σσ²."""
    reason: str | None = None
    """Why both are None."""


def effective_rank(change: Tensor) -> MatrixRank:
    """Return the ranks of a matrix (rows, columns), of any floating type."""
    if not change.any():
        return MatrixRank(reason=NOT_MOVED)
    eigenvalues = torch.linalg.eigvalsh(_gram(change), UPLO="U").flip(0)  # σ², the largest first
    noise = len(eigenvalues) * torch.finfo(torch.float64).eps * eigenvalues[0]
    return _of_energies(eigenvalues.where(eigenvalues > noise, 0.0))


def product_rank(out: Tensor, into: Tensor) -> MatrixRank:
    """Return the ranks of the product of two matrices, (rows, inner) and (inner, columns).

    With out = Q₁R₁ and intoᵀ = Q₂R₂ the product has the singular values of R₁R₂ᵀ, which is of
    inner × inner at most.
    """
    first = torch.linalg.qr(out.double(), mode="r").R
    second = torch.linalg.qr(into.double().T, mode="r").R
    return _of_energies(torch.linalg.svdvals(first @ second.T).square())


def _of_energies(energies: Tensor) -> MatrixRank:
    """energies: σ², the largest first, 0 where nothing but rounding is left."""
    total = energies.sum()
    if total.item() <= 0.0:
        return MatrixRank(reason=NOT_MOVED)
    sigma = energies.sqrt()
    held = energies.cumsum(0) / total
    return MatrixRank(
        entropy_rank=torch.special.entr(sigma / sigma.sum()).sum().exp().item(),
        rank_90=int((held < ENERGY_SHARE).sum().item()) + 1,
    )


def _gram(change: Tensor) -> Tensor:
    """Return the upper triangle of XᵀX (n, n) in float64, n the smaller side, some more beside it.

    Without a float64 copy of the whole.
    """
    tall = change if change.shape[0] >= change.shape[1] else change.T  # (m, n), m ≥ n
    side = tall.shape[1]
    width = -(-side // _GRAM_COLUMNS)
    gram = torch.zeros((side, side), dtype=torch.float64, device=change.device)
    for part in tall.split(max(1, _PART_ENTRIES // side)):
        rows = part.double()
        for start in range(0, side, width):
            gram[start : start + width, start:].addmm_(
                rows[:, start : start + width].T, rows[:, start:]
            )
    return gram


@contextmanager
def _threads_for(side: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if side <= _ONE_THREAD_SIDE_MAX:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ChangeRanks:
    """Measures the ranks of a model's changes, as far as the time that is given allows."""

    def __init__(self, model: nn.Module, reference: Reference, *, follows: bool = False) -> None:
        """follows: whether another process measures, and this one only takes part in gathering."""
        self._reference = reference
        self._follows = follows
        self._sources = {
            one.name: (one.parameter, one.module)
            for one in StoredWeights(model, reference.tensors).sources()
            if one.parameter.ndim == 2
        }
        self.names = _measuring_order(list(self._sources))
        """Every matrix that its files hold as it is, layers far apart following each other."""
        self._seconds = self._operations = 0.0

    @torch.no_grad()
    def measure(self, name: str) -> MatrixRank:
        """Return the ranks of one matrix."""
        parameter, module = self._sources[name]
        if module is not None:
            factors = [whole_tensor(one) for one in _factors(module)]
            return MatrixRank() if self._follows else product_rank(*factors)
        if min(parameter.shape) > SIDE_MAX:
            return MatrixRank(reason=TOO_LARGE)
        whole = whole_tensor(parameter)
        if self._follows:
            return MatrixRank()
        started = time.monotonic()
        with _threads_for(min(parameter.shape)):
            reference = self._reference.read(name).to(whole.device, torch.float32)
            effective = effective_rank(whole.float() - reference)
        self._seconds += time.monotonic() - started
        self._operations += rank_operations(parameter.shape)
        return effective

    def seconds_expected(self, name: str) -> float:
        """Return what measuring this matrix should take; 0 before any like it was measured, and
        for LoRA's products."""
        parameter, module = self._sources[name]
        if module is not None or not self._operations:
            return 0.0
        return self._seconds / self._operations * rank_operations(parameter.shape)

    def measure_all(
        self,
        *,
        seconds: float,
        stop: Callable[[], bool],
        progress: Callable[[int, int], None],
        agree: Callable[[Any], Any] = lambda value: value,
    ) -> dict[str, MatrixRank]:
        """Measure every matrix that fits into the time given; the others say why they do not.

        stop: asked before every matrix; true ends the measuring. progress: told how many of how
        many matrices are done. agree: gives the first process's value where several take part.
        """
        by_name: dict[str, MatrixRank] = {}
        started = time.monotonic()
        for number, name in enumerate(self.names):
            progress(number, len(self.names))
            reason = STOPPED if stop() else None
            if time.monotonic() - started + self.seconds_expected(name) > seconds:
                reason = reason or NO_TIME
            reason = agree(reason)
            by_name[name] = MatrixRank(reason=reason) if reason else self.measure(name)
        progress(len(self.names), len(self.names))
        return by_name

    def middle_layer(self) -> list[str]:
        """Return the matrices of the middle layer; without layers, the one in the middle."""
        parsed = {name: TensorName.parse(name).layer for name in self.names}
        layers = sorted({layer for layer in parsed.values() if layer is not None})
        if not layers:
            return sorted(self.names)[len(self.names) // 2 :][:1]
        return [name for name in self.names if parsed[name] == layers[len(layers) // 2]]

    def mean(self, ranks: dict[str, MatrixRank]) -> tuple[float | None, float | None]:
        """Return the means of entropy rank and rank at 90 %, weighted by the matrices' sizes.

        Embeddings and head are left out, for LoRA never moves them; None where nothing is left.
        """
        weights = {
            name: self._sources[name][0].numel()
            for name, rank in ranks.items()
            if rank.reason is None and is_projected(name, tuple(self._sources[name][0].shape))
        }
        total = sum(weights.values())
        if not total:
            return None, None
        entropy = sum(w * (ranks[name].entropy_rank or 0.0) for name, w in weights.items())
        energy = sum(w * (ranks[name].rank_90 or 0) for name, w in weights.items())
        return entropy / total, energy / total


def _factors(module: Any) -> tuple[Tensor, Tensor]:
    """The weights of a LoRA module whose product is its change, but for a factor; (outputs, rank)
    and (rank, inputs)."""
    return module.lora_B["default"].weight, module.lora_A["default"].weight


def _measuring_order(names: list[str]) -> list[str]:
    """Layer by layer in `layers_spread`'s order, then what belongs to none."""
    layers: dict[int, list[str]] = {}
    others = []
    for name in names:
        layer = TensorName.parse(name).layer
        if layer is None:
            others.append(name)
        else:
            layers.setdefault(layer, []).append(name)
    numbers = sorted(layers)
    spread = [name for place in layers_spread(len(numbers)) for name in layers[numbers[place]]]
    return spread + others
