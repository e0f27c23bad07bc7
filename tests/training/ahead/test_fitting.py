"""Whether each method fits, and what would make it fit: tried against the estimate itself."""

from dataclasses import replace
from typing import Any

import pytest

from tests.training.ahead.test_memory import DECODER, config_of
from training.ahead.fitting import MethodFit, Place, Session, method_fits
from training.ahead.memory import Workload
from training.config import MethodConfig, RanksConfig, RunConfig
from training.methods import METHODS

SESSION = Session(
    shapes={f"layers.{n}.up.weight": (4096, 4096) for n in range(16)},
    decoder=replace(DECODER, layers=16),
    workload=Workload(longest_tokens=100, longest_decision_tokens=10),
)
CARD = Place(on_gpu=True, free_bytes=None)


def of(name: str, free_bytes: float | None, *, on_gpu: bool = True, **changes: Any) -> MethodFit:
    place = Place(on_gpu=on_gpu, free_bytes=None if free_bytes is None else int(free_bytes))
    fits = method_fits(config_of(**changes), SESSION, place)
    names = [kind.name for kind in METHODS.values()]
    assert [one.name for one in fits if "base in" not in one.name] == names
    return next(one for one in fits if one.name == getattr(METHODS.get(name), "name", name))


def needs(config: RunConfig, place: Place = CARD) -> int:
    return SESSION.needed_bytes(config, place)


def adamw(**changes: Any) -> RunConfig:
    return replace(config_of(), method=MethodConfig(name="adamw"), **changes)


def test_each_method_is_estimated_with_the_rest_as_it_is() -> None:
    chosen = of("lora", 1e12, method={"name": "lora", "rank": 64}, dtype="bfloat16")
    assert chosen.chosen
    assert chosen.needed_bytes == needs(
        config_of(method={"name": "lora", "rank": 64}, dtype="bfloat16")
    )
    other = of("adamw", 1e12, method={"name": "lora", "rank": 64}, dtype="bfloat16")
    assert not other.chosen
    assert other.needed_bytes == needs(adamw(dtype="bfloat16"))
    assert (other.fits, other.cure) == ("yes", "")


def test_what_the_estimates_error_could_decide_fits_barely() -> None:
    needed = needs(adamw())
    assert of("adamw", needed - 1).fits == "no"
    assert of("adamw", needed).fits == of("adamw", 1.19 * needed).fits == "barely"
    assert of("adamw", 1.21 * needed).fits == "yes"


def test_unknown_is_neither_yes_nor_no() -> None:
    assert of("adamw", None).fits is None


def test_what_fits_is_named_from_the_least_change_on() -> None:
    half = needs(adamw(dtype="bfloat16"))
    assert of("adamw", half).cure.startswith("Fits in bfloat16: ")
    two, four = (
        needs(adamw(ranks=RanksConfig(processes=count, sharding="fsdp2"))) for count in (2, 4)
    )
    assert four < two < needs(adamw())
    cure = of("adamw", two, dtype="float32").cure
    assert half > two or cure.startswith("Fits in bfloat16")
    rounded: dict[str, Any] = {"dtype": "bfloat16"}
    two_rounded = needs(adamw(**rounded, ranks=RanksConfig(processes=2, sharding="fsdp2")))
    assert two_rounded < half
    assert of("adamw", two_rounded, **rounded).cure.startswith("Fits on 2 cards, each with a part:")
    assert of("adamw", two_rounded, **rounded).cure.endswith(" on each.")


@pytest.mark.parametrize("on_gpu", [True, False])
def test_where_nothing_fits_it_says_how_much_is_needed(on_gpu: bool) -> None:
    fit = of("adamw", 1 << 20, on_gpu=on_gpu)
    assert fit.too_large
    where = " on 8 cards, each with a part," if on_gpu else ""
    assert fit.cure.startswith(f"Even in bfloat16{where} it needs ")


def test_processes_of_a_machine_without_cards_share_its_memory() -> None:
    place = Place(on_gpu=False, free_bytes=1)
    two = adamw(ranks=RanksConfig(processes=2))
    assert needs(two, place) == 2 * SESSION.estimate(two, place).total_bytes


def test_what_the_recipe_forbids_is_not_proposed() -> None:
    """A pull toward the parent needs LoRA's whole adapter, so its model cannot be shared out."""
    pulled: dict[str, Any] = {"defences": {"l2_strength": 1.0}, "dtype": "bfloat16"}
    assert "cards" not in of("lora", 1 << 20, **pulled).cure
    sharded = {**pulled, "ranks": {"processes": 2, "sharding": "fsdp2"}}
    refused = of("lora", 1e12, **sharded)
    assert refused.needed_bytes is None
    assert "needs the whole adapter" in refused.cure


def test_a_base_in_few_bits_has_rows_of_its_own() -> None:
    """With the recipe's own rank; on cards alone."""
    own: dict[str, Any] = {"method": {"name": "lora", "rank": 64}, "dtype": "bfloat16"}
    whole = of("lora", 1e12, **own)
    tries = {bits: of(f"LoRA, base in {bits} bit", 1e12, **own) for bits in (8, 4)}
    assert whole.chosen and not any(one.chosen for one in tries.values())
    for bits, one in tries.items():
        method = {"name": "lora", "rank": 64, "base_bits": bits}
        chosen = of(one.name, 1e12, method=method, dtype="bfloat16")
        assert chosen.chosen and chosen.needed_bytes == one.needed_bytes
        assert not of("lora", 1e12, method=method, dtype="bfloat16").chosen
    needed = [one.needed_bytes or 0 for one in (whole, tries[8], tries[4])]
    assert needed == sorted(needed, reverse=True)
    # 16 layers of 4096 x 4096: 16, 8.5 and 4.127 bit a number.
    numbers = 16 * 4096 * 4096
    assert needed[0] - needed[1] == pytest.approx(numbers * (16 - 8.5) / 8, rel=0.01)
    assert needed[1] - needed[2] == pytest.approx(numbers * (8.5 - 4.127) / 8, rel=0.01)
    refused = of("LoRA, base in 4 bit", 1e12, on_gpu=False, **own)
    assert refused.needed_bytes is None and refused.cure == "It needs a worker with a CUDA GPU."
    sharded = {**own, "ranks": {"processes": 2, "sharding": "fsdp2"}}
    refused = of("LoRA, base in 8 bit", 1e12, **sharded)
    assert refused.needed_bytes is None and "holds all of it in every process" in refused.cure
