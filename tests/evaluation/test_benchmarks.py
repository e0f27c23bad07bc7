"""lm-eval's results on the tiny model against likelihoods computed here, choice by choice."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evaluation.catalogue import _subset
from evaluation.judging.paired import Document, Item
from evaluation.judging.pairing import paired_benchmark, paired_perplexity
from evaluation.judging.rule import Rule
from evaluation.judging.verdict import verdict
from evaluation.suites import local_items
from tests.event_log import logged_events


def rows(directory: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "output" / name).open()]


def choice_nats(loaded: Any, question: str, choice: str) -> float:
    context, ids = question.encode(), (question + choice).encode()
    with torch.no_grad():
        logits = loaded.model(torch.tensor([list(ids)])).logits[0].double()
    logarithms = logits.log_softmax(-1)
    return sum(float(logarithms[i - 1, ids[i]]) for i in range(len(context), len(ids)))


def test_lm_eval_equals_likelihoods_computed_by_hand(
    measure_config: dict[str, Any], attempt: Any, tiny_loaded: Any
) -> None:
    code, directory = attempt(measure_config)
    assert code == 0
    by_question = {row["question"]: row for row in rows(directory, "samples.jsonl")}
    items = local_items("local_arithmetic", 5) + local_items("local_code", 3)
    assert len(by_question) == len(items)
    for item in items:
        row = by_question[item["question"]]
        nats = [choice_nats(tiny_loaded, item["question"], choice) for choice in item["choices"]]
        best = max(range(4), key=lambda i: nats[i])
        right = nats.pop(item["answer"])
        assert row["correct"] == int(best == item["answer"])
        assert row["margin_nats"] == pytest.approx(right - max(nats), abs=1e-3)
        assert row["answer"] == item["choices"][best].strip()
        assert row["target"] == item["choices"][item["answer"]].strip()
        assert row["cluster"] is None
    scores = json.loads((directory / "output/scores.json").read_text())["scores"]
    accuracy = {one["benchmark"]: one for one in scores if one["metric"] == "acc"}
    for name, n in (("local_arithmetic", 5), ("local_code", 3)):
        correct = [row["correct"] for row in by_question.values() if row["benchmark"] == name]
        assert accuracy[name]["value"] == pytest.approx(sum(correct) / n)
        assert accuracy[name]["n"] == n


def test_a_checkpoint_against_itself_never_differs(
    measure_config: dict[str, Any], attempt: Any
) -> None:
    _, first = attempt(measure_config)
    _, second = attempt(measure_config, "--attempt", "1")
    for name in ("samples.jsonl", "documents.jsonl"):
        assert (first / "output" / name).read_bytes() == (second / "output" / name).read_bytes()
    items = [Item.from_json(row) for row in rows(first, "samples.jsonl")]
    texts = [Document.from_json(row) for row in rows(first, "documents.jsonl")]
    benchmark = paired_benchmark(name="b", before=items, after=items)
    text = paired_perplexity(domain="p", before=texts, after=texts)
    judged = verdict([benchmark], [text], Rule(pooled_margin=0.5))
    assert judged.outcome == "retained"
    assert text.ratio == 1.0 and benchmark.lost == benchmark.gained == 0


def test_the_batch_size_moves_nothing_but_the_last_bits(
    measure_config: dict[str, Any], attempt: Any
) -> None:
    _, eight = attempt(measure_config)
    _, one = attempt(measure_config | {"batch_size": 1}, "--attempt", "1")
    pairs = zip(rows(eight, "samples.jsonl"), rows(one, "samples.jsonl"), strict=True)
    for left, right in pairs:
        assert left["margin_nats"] == pytest.approx(right["margin_nats"], abs=1e-4)
        assert left | {"margin_nats": 0} == right | {"margin_nats": 0}


def test_broken_weights_stop_the_measurement_and_name_the_item(
    measure_config: dict[str, Any], attempt: Any, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    from tests.tiny_model import tiny_model_write

    broken = tiny_model_write(tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    code, directory = attempt(measure_config | {"model": str(broken), "held_out": []})
    last = logged_events(directory / "events.jsonl")[-1]
    assert code == 2
    assert last["where"] == "benchmark local_arithmetic"
    assert "not a number" in last["message"] and "item ending in" in last["message"]
    assert not (directory / "output").exists()


def test_a_local_benchmark_that_is_not_there_is_named(
    measure_config: dict[str, Any], attempt: Any
) -> None:
    benchmarks = [{"name": "local_cooking", "source": "local"}]
    code, directory = attempt(measure_config | {"benchmarks": benchmarks, "held_out": []})
    last = logged_events(directory / "events.jsonl")[-1]
    assert code == 2
    assert last["where"] == "benchmark local_cooking"
    assert "not a local benchmark" in last["message"]


def test_subsets_of_standard_tasks_are_drawn_alike_for_every_model() -> None:
    sizes = {"a": 100, "b": 3, "c": 40}
    chosen = _subset(sizes, 20)
    assert chosen == _subset(dict(reversed(sizes.items())), 20)
    assert {name: len(indices) for name, indices in chosen.items()} == {"a": 9, "b": 3, "c": 8}
    smaller = _subset(sizes, 10)
    assert all(set(smaller[name]) <= set(chosen[name]) for name in smaller)
    assert _subset(sizes, None) == _subset(sizes, 143) == {}
