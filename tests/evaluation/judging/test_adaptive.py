"""Adaptive mode in the engine: which items are measured, when it stops, and what is said of it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.config import AdaptiveConfig, AdaptiveGroup, MeasureConfig, config_from_json
from evaluation.judging.adaptive import adaptive_judge, group_judge, units_in_order
from evaluation.judging.paired import Item
from evaluation.judging.pairing import ComparisonError, paired_benchmark
from evaluation.judging.rule import Rule
from evaluation.judging.sequential import harm_and_kept, log_growth, loss_limits
from tests.event_log import logged_events

NAMES = ("local_arithmetic", "local_code")
NEEDED = 45
"""Items that show that less than ten points were lost where nothing changed: mean over BETS of
(1 + 0.1 bet / 0.9)^n reaches 20, as in test_sequential.py."""
Rows = list[dict[str, Any]]


def rows(directory: Path) -> Rows:
    return [json.loads(line) for line in (directory / "output/samples.jsonl").open()]


def items(lines: Rows) -> dict[str, list[Item]]:
    result: dict[str, list[Item]] = {}
    for line in lines:
        result.setdefault(line["benchmark"], []).append(Item.from_json(line))
    return result


@pytest.fixture(scope="module")
def whole(tiny_model_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """All items of two benchmarks, measured whole."""
    from engine.attempt import attempt_run
    from evaluation.engine import work

    directory = tmp_path_factory.mktemp("whole")
    config = config_of(tiny_model_directory)
    (directory / "config.json").write_text(json.dumps(config))
    assert attempt_run("evaluation", work, [str(directory)]) == 0
    return rows(directory / "attempts/0")


def config_of(model: Path) -> dict[str, Any]:
    return {
        "action": "measure",
        "model": str(model),
        "benchmarks": [{"name": name, "source": "local"} for name in NAMES],
        "device": "cpu",
        "threads": 1,
    }


@pytest.fixture
def adaptive(tiny_model_directory: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A config.json that measures the two adaptively against these answers."""

    def build(before: Rows, groups: list[list[str]], margin: float = 0.1) -> dict[str, Any]:
        data = "".join(json.dumps(row) + "\n" for row in before).encode()
        path = tmp_path / f"{hashlib.sha256(data).hexdigest()[:8]}.jsonl"
        path.write_bytes(data)
        return config_of(tiny_model_directory) | {
            "adaptive": {
                "before": str(path),
                "before_sha256": hashlib.sha256(data).hexdigest(),
                "groups": [{"benchmarks": names, "margin": margin} for names in groups],
                "seed": "s",
            }
        }

    return build


def read(config: dict[str, Any]) -> AdaptiveConfig:
    whole_config = config_from_json(config)
    assert isinstance(whole_config, MeasureConfig) and whole_config.adaptive is not None
    return whole_config.adaptive


def test_a_model_against_itself_stops_as_soon_as_it_may(
    whole: Rows, adaptive: Callable[..., dict[str, Any]], attempt: Any
) -> None:
    config = adaptive(whole, [list(NAMES)])
    code, directory = attempt(config)
    assert code == 0

    order = units_in_order(items(whole), read(config).groups[0], "s")
    used = {one.before[0].doc_hash for one in order[:NEEDED]}
    result = rows(directory)
    assert {row["doc_hash"] for row in result} == used and len(result) == NEEDED
    first = {row["doc_hash"]: row for row in whole}
    for row in result:
        known = first[row["doc_hash"]]
        assert row["margin_nats"] == pytest.approx(known["margin_nats"], abs=1e-4)
        assert row | {"margin_nats": 0} == known | {"margin_nats": 0}
    said = [one.get("phase", "") for one in logged_events(directory / "events.jsonl")]
    assert any(f"stopped after {NEEDED} of {len(whole)} items" in one for one in said)
    stop = json.loads((directory / "output/settings.json").read_text())["adaptive"]["groups"]
    assert (stop[0]["items_used"], stop[0]["items"]) == (NEEDED, len(whole))
    scores = json.loads((directory / "output/scores.json").read_text())["scores"]
    assert sum(one["n"] for one in scores) == NEEDED and {one["metric"] for one in scores} == {
        "acc"
    }

    judged = adaptive_judge(
        read(config),
        before=items(whole),
        after=items(result),
        whole=[],
        perplexities=[],
        rule=Rule(pooled_margin=0.1),
    )
    assert judged.outcome == "retained"
    assert f"stopped after {NEEDED} of {len(whole)} items" in judged.reason
    assert judged.pooled is not None and judged.pooled.items_in_all == len(whole)
    assert judged.pooled.p_non_inferior < 0.05 < judged.benchmarks[0].p_non_inferior
    assert judged.pooled.interval_90.low > -0.1  # the limit that the rule looks at
    assert judged.to_json()["stops"]


def test_harm_stops_it_for_each_benchmark_on_its_own(
    whole: Rows, adaptive: Callable[..., dict[str, Any]], attempt: Any
) -> None:
    all_right = [row | {"correct": 1} for row in whole]
    config = adaptive(all_right, [[name] for name in NAMES])
    code, directory = attempt(config)
    assert code == 0
    result = items(rows(directory))
    assert all(0 < len(one) < 40 for one in result.values())
    judged = adaptive_judge(
        read(config),
        before=items(all_right),
        after=result,
        whole=[],
        perplexities=[],
        rule=Rule(gate_on="each", default_margin=0.1),
    )
    assert judged.outcome == "forgotten" and judged.pooled is None
    assert {one.name for one in judged.benchmarks if one.outcome == "forgotten"} == set(NAMES)
    assert all(one.is_stopped_early and one.loss_low > 0.1 for one in judged.benchmarks)

    # What an earlier attempt finished is kept, and the rest is measured again, in the same order.
    parts = sorted((directory / "parts").glob("*.json"))
    before = {path.name: path.read_bytes() for path in parts}
    parts[0].unlink()
    code, second = attempt(config, "--attempt", "1", "--resume", str(directory / "parts"))
    assert code == 0
    assert {path.name: path.read_bytes() for path in (second / "parts").glob("*.json")} == before
    for name in ("samples.jsonl", "scores.json", "settings.json"):
        assert (second / "output" / name).read_bytes() == (directory / "output" / name).read_bytes()


def test_without_an_answer_all_items_are_measured(
    whole: Rows, adaptive: Callable[..., dict[str, Any]], attempt: Any
) -> None:
    few = [row for row in whole if row["benchmark"] == "local_code"]
    config = adaptive(few, [["local_code"]], margin=0.02)
    config["benchmarks"] = config["benchmarks"][1:]
    code, directory = attempt(config)
    assert code == 0 and len(rows(directory)) == len(few)
    judged = group_judge(
        read(config).groups[0],
        read(config),
        before=items(few),
        after=items(rows(directory)),
        rule=Rule(default_margin=0.02),
    )
    assert judged.outcome == "undecided" and not judged.total.is_stopped_early
    assert judged.total.outcome == "inconclusive"
    assert judged.stop_words == f"took all {len(few)} items"


def test_answers_that_do_not_end_where_the_rule_ends_are_refused(whole: Rows) -> None:
    group = AdaptiveGroup(benchmarks=NAMES, margin=0.1)
    config = AdaptiveConfig(before="b", before_sha256="0", groups=(group,))
    before = items(whole)
    order = units_in_order(before, group, "")

    def judge(units: list[Any]) -> Any:
        after = {
            name: [item for one in units if one.benchmark == name for item in one.before]
            for name in NAMES
        }
        return group_judge(group, config, before=before, after=after, rule=Rule())

    assert judge(order[:NEEDED]).items_used == NEEDED
    with pytest.raises(ComparisonError, match="stopped before the answer was certain"):
        judge(order[: NEEDED - 1])
    with pytest.raises(ComparisonError, match="other items were measured"):
        judge([*order[:NEEDED], order[60]])
    changed = replace(order[3].before[0], prompt_hash="other")
    order[3] = replace(order[3], before=(changed,))
    with pytest.raises(ComparisonError, match="the prompt of an item changed"):
        judge(order[:NEEDED])
    # A partial measurement cannot be taken for a whole one either.
    with pytest.raises(ComparisonError, match="measured on one side only"):
        paired_benchmark(name="c", before=before["local_code"], after=before["local_code"][:9])


def test_other_answers_than_those_that_were_chosen_are_refused(
    whole: Rows, adaptive: Callable[..., dict[str, Any]], attempt: Any
) -> None:
    config = adaptive(whole, [list(NAMES)])
    Path(config["adaptive"]["before"]).write_text("")
    code, directory = attempt(config)
    last = logged_events(directory / "events.jsonl")[-1]
    assert (code, last["where"]) == (2, "adaptive.before")
    config = adaptive(whole[1:], [list(NAMES)])
    code, directory = attempt(config, "--attempt", "1")
    last = logged_events(directory / "events.jsonl")[-1]
    assert code == 2 and "one side only" in last["message"]


def test_clusters_come_whole_and_in_one_order() -> None:
    def item(number: int, cluster: str | None) -> Item:
        name = f"{number:03}"
        return Item(
            doc_hash=name, prompt_hash=name, target_hash=name, correct=True, cluster=cluster
        )

    several = {
        "a": [item(i, str(i // 5)) for i in range(50)],
        "b": [item(i, None) for i in range(9)],
    }
    group = AdaptiveGroup(benchmarks=("a", "b"), margin=0.1)
    units = units_in_order(several, group, "seed")
    assert sorted(len(one.before) for one in units) == [1] * 9 + [5] * 10
    turned = {name: list(reversed(one)) for name, one in several.items()}
    again = units_in_order(turned, group, "seed")
    assert [(u.benchmark, {i.doc_hash for i in u.before}) for u in units] == [
        (u.benchmark, {i.doc_hash for i in u.before}) for u in again
    ]
    assert [u.benchmark for u in units] != sorted(u.benchmark for u in units)
    assert units_in_order(several, group, "other") != units


def test_limits_are_where_the_bets_end() -> None:
    rng = np.random.default_rng(3)
    losses = rng.choice([1.0, 0.0, -1.0], p=[0.2, 0.75, 0.05], size=300)
    sizes = np.ones(300)
    limits = loss_limits(losses, sizes, 1, 0.05)
    assert -1 < limits.low < losses.mean() < limits.high < 1
    for row, limit in ((2, limits.low), (1, limits.high)):
        logs = log_growth(losses, sizes, limit, 1)[row].sum(axis=0)
        assert np.exp(logs).mean() == pytest.approx(20, rel=1e-5)
    harm, kept = harm_and_kept(losses, sizes, limits.high, 1)
    assert kept == pytest.approx(20, rel=1e-5) and harm > 20
    # A loss of zero is ruled out, so harm is evident. One item rules out nearly nothing.
    assert limits.low > 0
    single = loss_limits(np.array([-1.0]), np.ones(1), 1, 0.05)
    assert single.low == -1.0 and 0.9 < single.high < 1


def test_limits_hold_wherever_one_stops() -> None:
    """A true loss of 8 points is below the upper limit at every one of ten looks, in 95 %."""
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(300):
        losses = rng.choice([1.0, 0.0, -1.0], p=[0.14, 0.8, 0.06], size=400)
        growth = log_growth(losses, np.ones(400), 0.08, 1).cumsum(axis=1)
        wrong += bool((np.exp(growth[1]).mean(axis=1) >= 20).any())
    assert wrong / 300 <= 0.05 + 0.025


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"groups": []}, "adaptive.groups"),
        ({"groups": "local_code"}, "adaptive.groups"),
        ({"groups": [{"benchmarks": [], "margin": 0.1}]}, "adaptive.groups.benchmarks"),
        ({"groups": [{"benchmarks": ["gone"], "margin": 0.1}]}, "adaptive.groups.benchmarks"),
        ({"groups": [{"benchmarks": ["local_code"], "margin": 1}]}, "adaptive.groups.margin"),
        ({"groups": [{"benchmarks": ["local_code"] * 2, "margin": 0.1}]}, "adaptive.groups"),
        ({"alpha": 0}, "adaptive.alpha"),
        ({"together": 0}, "adaptive.together"),
        ({"seed": 1}, "adaptive.seed"),
        ({"before": ""}, "adaptive.before"),
        ({"hurry": True}, "adaptive.hurry"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], where: str) -> None:
    from engine.checks import ConfigError

    groups = [{"benchmarks": ["local_code"], "margin": 0.1}]
    sound = {"before": "/b.jsonl", "before_sha256": "0", "groups": groups}
    config = config_of(Path("/m")) | {"adaptive": sound}
    assert isinstance(config_from_json(config), MeasureConfig)
    with pytest.raises(ConfigError) as caught:
        config_from_json(config | {"adaptive": sound | change})
    assert caught.value.where == where
