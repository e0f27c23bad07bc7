"""The engine's gradients and steps against a plain training that shares no code with it.

The engine runs as it does for a user, from a recipe to a checkpoint; what its optimizer is given is
seen by torch's own hook. In every step each conversation is learnt once, so order plays no part.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import AutoModelForCausalLM, set_seed

from engine.process import DONE
from tests.training.plain import (
    Conversation,
    PlainTraining,
    Recipe,
    adapt,
    chatml,
    weights_of,
)
from tests.training.toys import batch_ingest, events_of, recipe_of
from training.__main__ import main

CALL = '<tool_call>\n{"name": "tide", "arguments": {"port": "Kiel"}}\n</tool_call>'
TOOLS = [
    ("system", "Be brief."),
    ("user", "When does the tide turn in Kiel?"),
    ("assistant", CALL),
    ("user", "<tool_response>\n06:40\n</tool_response>"),
    ("assistant", "At 06:40."),
    ("user", "And tomorrow?"),
    ("assistant", "Later."),
]
"""As ChatML without tools of its own writes it: three decisions, the first of them a call."""
TOOLS_RECORD = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "When does the tide turn in Kiel?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "tide", "arguments": '{"port": "Kiel"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "06:40"},
        {"role": "assistant", "content": "At 06:40."},
        {"role": "user", "content": "And tomorrow?"},
        {"role": "assistant", "content": "Later."},
    ]
}
TALKS = [
    [("user", "Who is at the helm?"), ("assistant", "The mate.")],
    [
        ("system", "Answer as a sailor."),
        ("user", "Is the wind fair?"),
        ("assistant", "Fair and steady, from the west."),
        ("user", "Will it last?"),
        ("assistant", "Till dusk."),
    ],
    [("user", "Name the last port we called at, please."), ("assistant", "Cuxhaven, captain.")],
]
BATCH: dict[str, Any] = {"examples_per_step": 4}
TWO_BY_TWO = {"conversations_at_once": 2}
CASES: dict[str, dict[str, Any]] = {
    "one": {},
    "one, window": {"context": {"grad_window": 16}},
    "batch": BATCH | {"context": {"conversations_at_once": 4}},
    "one by one": BATCH | {"context": {"conversations_at_once": 1}},
    "two by two": BATCH | {"context": TWO_BY_TWO},
    "two by two, window": BATCH | {"context": TWO_BY_TWO | {"grad_window": 16}},
    "clipped": BATCH | {"max_gradient_norm": 0.5},
}
STEPS = 3
ROUNDING = 2.0**-9
"""The largest relative error of one rounding to bfloat16, which has 8 significant bits."""


def record_of(turns: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


@pytest.fixture(scope="module")
def batches(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_directory: Path
) -> dict[int, Path]:
    """Ingested examples by how many there are: the conversation with tools, or all four."""
    root = tmp_path_factory.mktemp("plain")
    records = [TOOLS_RECORD, *map(record_of, TALKS)]
    return {
        count: batch_ingest(root / str(count), tiny_model_directory, records[:count])
        for count in (1, 4)
    }


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What the engine made of a recipe."""

    conversations: list[Conversation]
    losses: list[float]
    gradients: list[list[torch.Tensor]]
    """Of each step what its optimizer was given: matrices first."""
    weights: dict[str, torch.Tensor]


Teach = Callable[..., Taught]
Record = Callable[[str, object], None]


@pytest.fixture
def teach(tmp_path: Path, tiny_model_directory: Path, batches: dict[int, Path]) -> Teach:
    """`teach(**changes)`: three steps by the engine, with everything beside them left out."""

    def run(**changes: Any) -> Taught:
        count = changes.get("examples_per_step", 1)
        settings = recipe_of(tiny_model_directory, batches[count]) | {
            "epochs": STEPS,
            "weight_decay": 0.1,
            "max_gradient_norm": None,
            "anchor_model": None,
            "watch": {"watch_every_steps": 0},
            "diagnostics": {"gradient_cosine": False, "sharpness": False, "change_rank": False},
        }
        (tmp_path / "config.json").write_text(json.dumps(settings | changes))
        with gradients_seen() as gradients:
            assert main([str(tmp_path)]) == DONE
        metrics = [e["values"] for e in events_of(tmp_path) if e["event"] == "metric"]
        return Taught(
            conversations=[chatml(turns) for turns in [TOOLS, *TALKS][:count]],
            losses=[one["loss_nats"] for one in metrics],
            gradients=gradients,
            weights=load_file(tmp_path / "attempts/0/output/model.safetensors"),
        )

    return run


@contextmanager
def gradients_seen() -> Iterator[list[list[torch.Tensor]]]:
    """Every optimizer's gradients, step by step, as it is about to use them."""
    seen: list[list[torch.Tensor]] = []

    def look(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        seen.append([p.grad.detach().cpu().clone() for p in parameters])

    handle = register_optimizer_step_pre_hook(look)
    try:
        yield seen
    finally:
        handle.remove()


def apart(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> float:
    """‖ours − theirs‖ ÷ ‖theirs‖ over all of them."""
    assert [one.shape for one in ours] == [one.shape for one in theirs]
    one, other = (torch.cat([t.flatten().double() for t in all_]) for all_ in (ours, theirs))
    return ((one - other).norm() / other.norm()).item()


def furthest(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> float:
    """The largest difference of any tensor, relative to its own norm."""
    return max(apart([one], [other]) for one, other in zip(ours, theirs, strict=True))


def plain_model(directory: Path, dtype: torch.dtype = torch.float32) -> Any:
    return AutoModelForCausalLM.from_pretrained(directory, dtype=dtype)


def plain_recipe(changes: dict[str, Any]) -> Recipe:
    window = changes.get("context", {}).get("grad_window", 0)
    return Recipe(window=window, largest_norm=changes.get("max_gradient_norm"))


def moved(weights: dict[str, torch.Tensor], parent: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """How far each weight is from where it began."""
    return [weights[name].float() - parent[name].float() for name in sorted(parent)]


@pytest.mark.parametrize("name", CASES)
def test_gradients_and_three_steps_are_those_of_a_plain_training(
    teach: Teach, tiny_model_directory: Path, name: str
) -> None:
    taught = teach(**CASES[name])
    plain = PlainTraining(plain_model(tiny_model_directory), plain_recipe(CASES[name]))
    parent = {n: w.clone() for n, w in weights_of(plain.model).items()}
    assert len(taught.gradients) == STEPS
    for ours, loss in zip(taught.gradients, taught.losses, strict=True):
        expected_loss, expected = plain.gradients(taught.conversations)
        assert loss == pytest.approx(expected_loss, rel=1e-6)
        assert furthest(ours, expected) < 5e-5
        plain.step(expected)
    assert apart(moved(taught.weights, parent), moved(weights_of(plain.model), parent)) < 1e-4


def test_an_adapters_gradients_and_steps_too(teach: Teach, tiny_model_directory: Path) -> None:
    from training.config import MethodConfig

    method: dict[str, Any] = {"name": "lora", "rank": 4, "lora_alpha": 12.0}
    taught = teach(**CASES["two by two"], method=method)
    set_seed(0)  # the adapter's start is drawn, and taken as it is
    settings = MethodConfig(**method)
    adapter = dict(
        settings.kind.attach(plain_model(tiny_model_directory), settings).named_parameters()
    )
    start = {}
    for key, a in adapter.items():
        if ".lora_A." in key:
            name = key.removeprefix("base_model.model.").partition(".lora_A.")[0]
            start[name] = a.detach(), adapter[key.replace(".lora_A.", ".lora_B.")].detach()
    assert len(start) == 2 * 7
    model = plain_model(tiny_model_directory)
    parent = {n: w.clone() for n, w in weights_of(model).items()}
    plain = PlainTraining(adapt(model, start, factor=12.0 / 4), Recipe())
    for ours, loss in zip(taught.gradients, taught.losses, strict=True):
        expected_loss, expected = plain.gradients(taught.conversations)
        assert loss == pytest.approx(expected_loss, rel=1e-6)
        largest = max(one.norm() for one in expected)
        for one, other in zip(ours, expected, strict=True):
            assert (one - other).norm() <= 1e-5 * max(other.norm(), 1e-2 * largest)
        plain.step(expected)
    assert apart(moved(taught.weights, parent), moved(weights_of(plain.model), parent)) < 1e-4


def test_in_bfloat16_the_difference_is_rounding(
    teach: Teach, tiny_model_directory: Path, either_device: str, record_property: Record
) -> None:
    """Against float32 at the same weights, and against a plain training that rounds as well.

    Every product, norm and sum on a gradient's way through the model rounds once; errors of
    either sign add up as their root: about 2 x 40 roundings for two layers there and back.
    """
    case = CASES["two by two"]
    taught = teach(**case, dtype="bfloat16", device=either_device)
    exact, rounded = (
        PlainTraining(plain_model(tiny_model_directory, dtype), plain_recipe(case))
        for dtype in (torch.float32, torch.bfloat16)
    )
    with torch.no_grad():
        for parameter in exact.model.parameters():
            parameter.copy_(parameter.bfloat16())
    parent = {n: w.clone() for n, w in weights_of(rounded.model).items()}
    exact_loss, true = exact.gradients(taught.conversations)
    _, plain = rounded.gradients(taught.conversations)
    ours = taught.gradients[0]
    assert ours[0].dtype == torch.bfloat16
    assert taught.losses[0] == pytest.approx(exact_loss, rel=4 * ROUNDING)
    record_property("gradient in bfloat16 against float32, relative", apart(ours, true))
    assert apart(ours, true) < 80**0.5 * ROUNDING
    assert apart(ours, true) < 1.5 * apart(plain, true)
    for _ in range(STEPS):
        rounded.step(rounded.gradients(taught.conversations)[1])
    # A weight is rounded in each step, and where a gradient is smaller than its error Adam's first
    # direction, which is its sign, may be the other one.
    moves = moved(taught.weights, parent), moved(weights_of(rounded.model), parent)
    record_property("three steps in bfloat16, relative to the movement", apart(*moves))
    assert apart(*moves) < 0.05
