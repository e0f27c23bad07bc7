"""A method is one file: what is said of it, everywhere, comes from there."""

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import training.methods
from engine.checks import ConfigError
from engine.process import BAD_INPUT, DONE
from tests.training.toys import events_of
from training.__main__ import main
from training.ahead.decoder import DecoderShape
from training.ahead.forecast import forecast
from training.ahead.memory import Workload, memory_estimate
from training.ahead.memory_advice import memory_cure
from training.ahead.warnings import recipe_warnings
from training.card import model_card
from training.config import MethodConfig, RunConfig
from training.methods import METHODS, method_of, methods_find
from training.methods.method import OPTIMIZER

TOYS = Path(__file__).parent / "toys"
ROOT = Path(__file__).resolve().parents[3]
SHAPES = {"model.embed_tokens.weight": (260, 32), "model.layers.0.mlp.up_proj.weight": (64, 32)}
DECODER = DecoderShape(layers=2, hidden=32, queries=32, keys=32, intermediate=64, vocabulary=260)


@pytest.fixture
def signs() -> Iterator[str]:
    """A folder more to find methods in, for one test."""
    training.methods.__path__.append(str(TOYS))
    methods_find()
    try:
        yield "signs"
    finally:
        training.methods.__path__.remove(str(TOYS))
        methods_find()


def config_of(recipe: dict[str, Any], name: str, **changes: Any) -> RunConfig:
    return RunConfig.from_json({**recipe, "method": {"name": name}, **changes})


def test_it_trains(recipe: dict[str, Any], run_directory: Callable[..., Path], signs: str) -> None:
    directory = run_directory(recipe, method={"name": signs}, learning_rate=1e-3, max_steps=1)
    assert main([str(directory)]) == DONE
    before = load_file(Path(recipe["model"]) / "model.safetensors")
    after = load_file(directory / "attempts/0/output/model.safetensors")
    moved = (after["model.norm.weight"] - before["model.norm.weight"]).abs()
    assert moved.numpy() == pytest.approx(1e-3, rel=1e-3)
    card = (directory / "attempts/0/output/README.md").read_text()
    assert "Made by ftportal with Signs of the gradient, in 1 steps" in card


def test_what_is_said_ahead_comes_from_it(recipe: dict[str, Any], signs: str) -> None:
    config = config_of(recipe, signs, learning_rate=1.0)
    estimates = {
        name: memory_estimate(
            config_of(recipe, name),
            shapes=SHAPES,
            decoder=DECODER,
            workload=Workload(longest_tokens=50, longest_decision_tokens=10),
            on_gpu=False,
        )
        for name in (signs, "adamw")
    }
    assert estimates[signs].part_bytes(OPTIMIZER) == 0 < estimates["adamw"].part_bytes(OPTIMIZER)
    assert "less to carry than signs" in memory_cure(config, None)
    (rate,) = [w for w in recipe_warnings(config) if w.field == "learning_rate"]
    assert "1e-6 to 2e-6" in rate.message
    said = forecast(
        method=config.method,
        tensor_shapes=SHAPES,
        learning_rate=1.0,
        example_counts=[1],
        weights=[1.0],
    )
    assert said.displacement_high == pytest.approx(12345.0)
    assert "Signs of the gradient" in model_card(config, SUMMARY)


SUMMARY: dict[str, Any] = {
    "steps": 1,
    "examples": 1,
    "decision_tokens": 1,
    "context_tokens": 1,
    "displacement": None,
    "displacement_relative": None,
    "displacement_pretrained": None,
    "loss_nats": {},
}


def test_the_portals_form_and_lists_offer_it(signs: str) -> None:
    from ftportal.runs.forms.run import RunForm
    from ftportal.runs.recipes import method_name

    field: Any = RunForm.base_fields["method"]
    assert (signs, "Signs of the gradient") in list(field.choices)
    assert method_name({"method": {"name": signs}}) == "Signs of the gradient"


def test_it_is_proposed_after_forgetting(signs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from ftportal.evaluations import remedies

    monkeypatch.setattr(remedies, "run_again_url", lambda run, **changes: json.dumps(changes))
    run: Any = SimpleNamespace(recipe={"method": {"name": "adamw"}})
    titles = [one.title for one in remedies._other_methods(run)]
    assert titles == ["LoRA at 1e-4", "Signs of the gradient at 1e-6"]


def test_the_registry_forgets_it_afterwards() -> None:
    assert list(METHODS) == ["apollo", "apollo_mini", "lora", "adamw"]


def test_an_unknown_method_is_refused_by_name(
    recipe: dict[str, Any], run_directory: Callable[..., Path]
) -> None:
    for refuse in (
        lambda: method_of("adamx"),
        lambda: MethodConfig(name="adamx"),
        lambda: config_of(recipe, "adamx"),
        lambda: MethodConfig(name=["adamw"]),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match="is not known") as refusal:
            refuse()
        assert refusal.value.where == "method.name" and "adamw" in refusal.value.cure
    directory = run_directory(recipe, method={"name": "adamx"})
    assert main([str(directory)]) == BAD_INPUT
    error = events_of(directory)[-1]
    assert error["where"] == "method.name" and "'adamx' is not known" in error["message"]


def test_the_form_refuses_an_unknown_method() -> None:
    from ftportal.runs.forms.run import RunForm

    with pytest.raises(Exception, match="adamx is not one of the available choices"):
        RunForm.base_fields["method"].clean("adamx")


def names_compared(path: Path) -> list[str]:
    """Methods' keys that stand as strings in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in METHODS
    ]


DEFAULTS = {
    "training/config/method.py": 1,  # the default of a recipe that names none
    "ftportal/dashboard/management/commands/seed_demo.py": 2,  # the demo's two recipes
}
"""Where a method's key stands as data, and how often."""


def test_nobody_else_compares_the_names_of_methods() -> None:
    counts: dict[str, int] = {}
    for package in ("engine", "corpus", "training", "evaluation", "ftportal"):
        for path in (ROOT / package).rglob("*.py"):
            if "migrations" in path.parts or path.is_relative_to(ROOT / "training/methods"):
                continue
            if places := names_compared(path):
                counts[str(path.relative_to(ROOT))] = len(places)
    assert counts == DEFAULTS
