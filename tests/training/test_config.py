"""The recipe: what is refused, what is warned about, what is forecast."""

import math
from typing import Any

import pytest

from engine.checks import ConfigError
from training.ahead.forecast import forecast, rates
from training.ahead.mixture import example_order, mixture_counts, step_count
from training.ahead.warnings import recipe_warnings
from training.config import MethodConfig, RunConfig, example_config
from training.methods import apollo, apollo_mini


def test_the_example_config_reads_back_unchanged() -> None:
    assert RunConfig.from_json(example_config()).to_json() == example_config()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", "abc"),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("learning_rate", -1e-5),
        ("learning_rate", True),
        ("epochs", 0),
        ("epochs", 1.5),
        ("seed", -1),
        ("seed", 2**32),
        ("schedule", "sawtooth"),
        ("dtype", "float16"),
        ("device", ["cpu"]),
        ("context_frozen", 1),
        ("max_example_tokens", 2),
        ("max_gradient_norm", 0),
        ("save_every_steps", 0),
        ("max_steps", 0),
        ("weight_decay", 2),
        ("model", ""),
        ("batches", []),
        ("batches", {}),
        ("gradient_accumulation", 4),
        ("method", "adamw"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_json({**example_config(), field: value})
    assert caught.value.where == field
    assert caught.value.cure


@pytest.mark.parametrize(
    ("method", "where"),
    [
        ({"name": "sgd"}, "method.name"),
        ({"name": "adamw", "rank": 8}, "method.rank"),
        ({"name": "apollo_mini", "rank": 2}, "method.rank"),
        ({"name": "lora", "scale": 2.0}, "method.scale"),
        ({"name": "apollo", "lora_alpha": 2.0}, "method.lora_alpha"),
        ({"name": "lora", "dropout": 0.1}, "method.dropout"),
        ({"name": "apollo", "rank": 0}, "method.rank"),
        ({"name": "lora", "implementation": "ftportal"}, "method.implementation"),
        ({"name": "apollo", "implementation": "galore"}, "method.implementation"),
    ],
)
def test_a_setting_without_meaning_for_the_method_is_refused(
    method: dict[str, Any], where: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_json({**example_config(), "method": method})
    assert caught.value.where == where


def test_a_missing_field_and_a_double_key_are_refused() -> None:
    config = example_config()
    with pytest.raises(ConfigError, match="model: is missing"):
        RunConfig.from_json({key: config[key] for key in config if key != "model"})
    config["batches"][1]["key"] = "b1"
    with pytest.raises(ConfigError, match="one key"):
        RunConfig.from_json(config)


def test_apollos_scale_is_the_smaller_side_by_the_rank() -> None:
    plain, mini = MethodConfig(name="apollo"), MethodConfig(name="apollo_mini")
    assert apollo.METHOD.scale_of(plain, (576, 1536)) == 576 / 256
    assert apollo.METHOD.scale_of(plain, (192, 576)) == 1.0
    assert apollo.METHOD.rank_of(plain, (192, 576)) == 192
    assert apollo_mini.METHOD.scale_of(mini, (576, 1536)) == 128.0


def test_a_recipe_without_an_implementation_means_ours_and_says_so_when_it_is_kept() -> None:
    config = RunConfig.from_json({**example_config(), "method": {"name": "apollo_mini"}})
    assert config.to_json()["method"]["implementation"] == "ftportal"
    assert MethodConfig(name="apollo", implementation="apollo-torch").implementation != "ftportal"
    assert MethodConfig(name="adamw").implementation is None


def test_only_optimizers_with_state_in_bfloat16_are_said_to_forget_nothing() -> None:
    def message(**method: str) -> str:
        recipe = {**example_config(), "method": method, "dtype": "bfloat16"}
        return recipe_warnings(recipe)[-1].message

    assert "round away. Use" in message(name="apollo")
    assert "never decays" in message(name="apollo", implementation="apollo-torch")
    assert "never decays" in message(name="adamw")


def test_the_starting_point_needs_no_warning() -> None:
    assert recipe_warnings(RunConfig.from_json(example_config())) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"learning_rate": 3e-4}, "learning_rate"),
        ({"learning_rate": 1e-6}, "learning_rate"),
        ({"method": {"name": "lora"}}, "learning_rate"),
        ({"epochs": 4}, "epochs"),
        ({"batches": [{"kind": "dream", "weight": 0.9}, {"kind": "general"}]}, None),
        ({"batches": [{"kind": "dream", "weight": 9}, {"kind": "general"}]}, "batches"),
        ({"dtype": "bfloat16", "diagnostics": {"sharpness": False}}, "dtype"),
        ({"dtype": "bfloat16", "method": {"name": "lora"}, "learning_rate": 1e-4}, "sharpness"),
        ({"max_gradient_norm": None}, "max_gradient_norm"),
        ({"learning_rate": "abc"}, None),
        ({"defences": {"ewc_strength": 1, "ewc_examples": 8}}, "ewc_examples"),
        ({"defences": {"ewc_strength": 1, "ewc_examples": 32}}, None),
        ({"defences": {"mask_below_probability": 0.2}}, "mask_below_probability"),
        ({"defences": {"mask_below_probability": 1e-3}}, None),
        ({"watch": {"brake_rise": 0.5}}, "brake_rise"),
        ({"watch": {"brake_rise": 0.001}}, "brake_rise"),
        ({"watch": {"brake_rise": 0.05}}, None),
    ],
)
def test_warnings_name_their_field(change: dict[str, Any], field: str | None) -> None:
    result = [warning.field for warning in recipe_warnings({**example_config(), **change})]
    assert result == ([] if field is None else [field])


def test_an_epoch_gives_every_batch_its_share() -> None:
    assert mixture_counts([30, 10], [0.75, 0.25]) == [30, 10]
    assert mixture_counts([30, 10], [1, 1]) == [20, 20]
    assert mixture_counts([1000, 1], [1, 1e-9]) == [1001, 1]
    assert step_count([30, 10], [1, 1], epochs=2, examples_per_step=3) == 27
    assert step_count([30, 10], [1, 1], epochs=2, examples_per_step=3, max_steps=5) == 5


def test_no_example_comes_again_before_its_batch_is_exhausted() -> None:
    order = example_order([10, 4], [0.5, 0.5], epochs=2, seed=3)
    assert order == example_order([10, 4], [0.5, 0.5], epochs=2, seed=3)
    assert order != example_order([10, 4], [0.5, 0.5], epochs=2, seed=4)
    second = [example for batch, example in order if batch == 1]
    assert [second[:7].count(example) for example in range(4)].count(2) == 3
    assert sorted(second.count(example) for example in range(4)) == [3, 3, 4, 4]


def test_schedules_are_those_of_transformers() -> None:
    import torch
    from transformers import get_scheduler

    for name, theirs in (
        ("constant", "constant_with_warmup"),
        ("linear", "linear"),
        ("cosine", "cosine"),
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        schedule = get_scheduler(theirs, optimizer, num_warmup_steps=3, num_training_steps=10)
        expected = []
        for _ in range(10):
            expected.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        assert rates(name, 0.5, 3, 10) == pytest.approx(expected)


def test_the_forecast_brackets_what_was_measured_on_smollm2() -> None:
    shapes = {"layer.weight": (11598, 11598)}  # as many parameters as SmolLM2-135M
    measured = {1e-5: 2.3, 1e-4: 8.4, 3e-4: 21.7}
    for rate, displacement in measured.items():
        guess = forecast(
            method=MethodConfig(name="adamw"),
            learning_rate=rate,
            tensor_shapes=shapes,
            example_counts=[60],
            weights=[1.0],
        )
        assert guess.step_count == 60
        assert guess.displacement_low < displacement < guess.displacement_high
        assert guess.displacement_low < guess.displacement < guess.displacement_high
        assert guess.seconds is None
        assert guess.seconds_reason


def test_a_measured_update_norm_gives_the_plain_product() -> None:
    guess = forecast(
        method=MethodConfig(),
        learning_rate=1e-4,
        tensor_shapes={},
        example_counts=[30],
        weights=[1.0],
        examples_per_step=3,
        update_norm=1400.0,
        tokens_per_example=200.0,
        tokens_per_second=100.0,
    )
    assert guess.displacement == pytest.approx(1e-4 * 10 * 1400.0)
    assert guess.seconds == pytest.approx(60.0)
