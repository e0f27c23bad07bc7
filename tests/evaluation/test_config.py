"""Every wrong field of config.json is named before anything is loaded."""

from typing import Any

import pytest

from engine.checks import ConfigError
from evaluation.config import GenerateConfig, MeasureConfig, config_from_json

MEASURE: dict[str, Any] = {
    "action": "measure",
    "model": "/models/m",
    "benchmarks": [{"name": "local_code", "source": "local", "limit": 12}],
    "held_out": [{"key": "k", "name": "Docs", "domain": "prose", "path": "/x.jsonl"}],
}
MESSAGE = {"role": "user", "content": "hi"}
GENERATE: dict[str, Any] = {
    "action": "generate",
    "model": "/models/m",
    "prompts": [{"sha256": "a", "messages": [MESSAGE]}],
}


def test_whole_configs_are_read_with_their_defaults() -> None:
    measure, generate = config_from_json(MEASURE), config_from_json(GENERATE)
    assert isinstance(measure, MeasureConfig) and isinstance(generate, GenerateConfig)
    assert (measure.window_tokens, measure.stride_tokens, measure.dtype) == (1024, 512, "auto")
    assert measure.batch_size == "auto"
    assert not measure.hub and not measure.allow_code_execution
    assert measure.benchmarks[0].limit == 12
    assert (generate.max_new_tokens, generate.temperature) == (512, 0.0)


@pytest.mark.parametrize(
    ("base", "change", "where"),
    [
        (MEASURE, {"action": "dance"}, "action"),
        (MEASURE, {"colour": 1}, "colour"),
        (MEASURE, {"model": ""}, "model"),
        (MEASURE, {"dtype": "float8"}, "dtype"),
        (MEASURE, {"batch_size": 0}, "batch_size"),
        (MEASURE, {"batch_size": True}, "batch_size"),
        (MEASURE, {"seed": -1}, "seed"),
        (MEASURE, {"threads": 0}, "threads"),
        (MEASURE, {"stride_tokens": 1024}, "stride_tokens"),
        (MEASURE, {"hub": "yes"}, "hub"),
        (MEASURE, {"benchmarks": [], "held_out": []}, "benchmarks"),
        (MEASURE, {"benchmarks": "local_code"}, "benchmarks"),
        (MEASURE, {"benchmarks": [1]}, "benchmarks"),
        (MEASURE, {"benchmarks": [{"name": "a", "source": "web"}]}, "benchmarks.source"),
        (MEASURE, {"benchmarks": [{"name": "a"}]}, "benchmarks.source"),
        (MEASURE, {"benchmarks": MEASURE["benchmarks"] * 2}, "benchmarks.name"),
        (MEASURE, {"held_out": MEASURE["held_out"] * 2}, "held_out.key"),
        (GENERATE, {"prompts": []}, "prompts"),
        (GENERATE, {"prompts": GENERATE["prompts"] * 2}, "prompts.sha256"),
        (GENERATE, {"prompts": [{"sha256": "a", "messages": []}]}, "prompts.messages"),
        (GENERATE, {"prompts": [{"sha256": "a", "messages": [{}]}]}, "prompts.messages"),
        (GENERATE, {"temperature": -1}, "temperature"),
        (GENERATE, {"temperature": "hot"}, "temperature"),
        (GENERATE, {"max_new_tokens": 0}, "max_new_tokens"),
        (GENERATE, {"benchmarks": []}, "benchmarks"),
    ],
)
def test_a_wrong_field_is_named(base: dict[str, Any], change: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_from_json(base | change)
    assert caught.value.where == where
    assert caught.value.cure


def test_anything_but_an_object_is_refused() -> None:
    with pytest.raises(ConfigError):
        config_from_json([MEASURE])
