"""Which conversations are walked together."""

from typing import Any

import pytest

from engine.checks import ConfigError
from tests.training.frozen.test_streaming import example
from training.config import BatchConfig, ContextConfig, RunConfig
from training.frozen.batching import conversations_group
from training.samples import Sample


def config(**changes: Any) -> RunConfig:
    batch = BatchConfig(key="b", name="B", kind="general", path="none")
    settings = {"model": "none", "batches": (batch,), "examples_per_step": 8, **changes}
    return RunConfig(**settings)


def sample(*cuts: tuple[int, int]) -> Sample:
    encoded = example(*cuts, length=cuts[-1][1])
    return Sample(encoded=encoded, batch_key="b", kind="general")


SHORT, SHORTER = sample((20, 30)), sample((18, 28))
LONG, TWO = sample((200, 230)), sample((20, 30), (40, 50))
SAMPLES = [SHORT, LONG, TWO, SHORTER]


def test_short_ones_go_together_where_nobody_said_how_many() -> None:
    assert conversations_group([SHORT] * 6, config(), can_pad=True) == [[SHORT] * 4, [SHORT] * 2]
    long = sample((900, 930))
    assert conversations_group([long] * 3, config(), can_pad=True) == [[long] * 2, [long]]
    assert config(examples_per_step=3).context.together(3) == 3


def test_one_at_a_time_keeps_the_order() -> None:
    one = config(context=ContextConfig(conversations_at_once=1))
    groups = conversations_group(SAMPLES, one, can_pad=True)
    assert groups == [[alone] for alone in SAMPLES]


def test_neighbours_in_length_go_together() -> None:
    four = config(context=ContextConfig(conversations_at_once=4))
    groups = conversations_group(SAMPLES, four, can_pad=True)
    assert groups == [[TWO], [LONG], [SHORT, SHORTER]]
    assert conversations_group([SHORT] * 6, four, can_pad=True) == [[SHORT] * 4, [SHORT] * 2]


def test_without_pads_only_alike_ones_go_together() -> None:
    four = config(context=ContextConfig(conversations_at_once=4))
    groups = conversations_group([*SAMPLES, SHORT], four, can_pad=False)
    assert groups == [[TWO], [LONG], [SHORT, SHORT], [SHORTER]]


def test_pads_after_everything_harm_no_model() -> None:
    masked = config(context_frozen=False, context=ContextConfig(conversations_at_once=4))
    groups = conversations_group(SAMPLES, masked, can_pad=False)
    assert groups == [[LONG], [TWO], [SHORT, SHORTER]]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"context": ContextConfig(grad_window=8), "context_frozen": False}, "grad_window"),
        ({"context": ContextConfig(conversations_at_once=9)}, "conversations_at_once"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError, match=f"^context.{where}:"):
        config(**changes)
