"""Tasks of other kinds than the local ones: free answers, groups, subsets, length-normalised."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.attempt import EngineError
from evaluation.benchmarks import benchmark_measure
from evaluation.config import BenchmarkConfig, MeasureConfig
from evaluation.judging.paired import Item
from evaluation.likelihoods import CountingModel
from evaluation.prepared import BenchmarkTasks
from evaluation.stopping import whole_reason


def measured(
    tasks: dict[str, Any],
    indices: dict[str, list[int]],
    directory: Path,
    loaded: Any,
    **settings: Any,
) -> tuple[dict[str, Any], list[float]]:
    benchmark = BenchmarkConfig(name="bench", source="lm_eval")
    config = MeasureConfig(model=str(directory), benchmarks=(benchmark,), **settings)
    prepared = BenchmarkTasks(
        config=benchmark, tasks=tasks, indices=indices, item_count=4, is_group=len(tasks) > 1
    )
    shares: list[float] = []
    result = benchmark_measure(prepared, CountingModel(loaded, config), config, shares.append)
    return result, shares


def text_nats(loaded: Any, question: str, answer: str) -> float:
    """log p(answer | question) of the tiny model, whose tokens are bytes."""
    context, ids = question.encode(), (question + answer).encode()
    with torch.no_grad():
        logarithms = loaded.model(torch.tensor([list(ids)])).logits[0].double().log_softmax(-1)
    return sum(float(logarithms[i - 1, ids[i]]) for i in range(len(context), len(ids)))


def test_free_answers_are_right_or_wrong_and_keep_the_likelihood_of_the_right_one(
    task_make: Any, tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    docs = [{"question": f"{i} + {i} =", "target": str(2 * i)} for i in range(4)]
    task = task_make(
        "sums",
        docs,
        output_type="generate_until",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 4},
        metric_list=[{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    )
    result, shares = measured({"sums": task}, {}, tiny_model_directory, tiny_loaded)
    assert [row["target"] for row in result["samples"]] == ["0", "2", "4", "6"]
    assert all(row["correct"] == 0 for row in result["samples"])
    for row in result["samples"]:
        nats = text_nats(tiny_loaded, row["question"], " " + row["target"])
        assert row["margin_nats"] == pytest.approx(nats, abs=1e-3)
    assert [(one["metric"], one["value"], one["n"]) for one in result["scores"]] == [
        ("exact_match", 0.0, 4)
    ]
    assert shares[-1] == 1.0


def test_groups_join_their_tasks_as_clusters_and_keep_their_subsets(
    task_make: Any, tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    docs = [
        {"question": f"Is {i} even?", "choices": ["yes", "certainly not"], "target": i % 2}
        for i in range(6)
    ]
    fields = {
        "output_type": "multiple_choice",
        "doc_to_choice": "choices",
        "doc_to_target": "target",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    tasks = {name: task_make(name, docs, **fields) for name in ("one", "two")}
    indices = {"one": [1, 4], "two": [0, 2, 3]}
    result, _ = measured(tasks, indices, tiny_model_directory, tiny_loaded)
    rows = result["samples"]
    assert [(row["cluster"], row["question"]) for row in rows] == [
        ("one", "Is 1 even?"),
        ("one", "Is 4 even?"),
        ("two", "Is 0 even?"),
        ("two", "Is 2 even?"),
        ("two", "Is 3 even?"),
    ]
    assert len({row["doc_hash"] for row in rows}) == 5  # the same question in two tasks is two
    (score,) = result["scores"]
    assert (score["metric"], score["n"]) == ("acc_norm", 5)
    assert score["value"] == pytest.approx(sum(row["correct"] for row in rows) / 5)


def test_tasks_without_a_yes_or_no_are_shown_but_have_no_items(
    task_make: Any, tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    docs = [{"question": "", "target": f"Some text, number {i}."} for i in range(3)]
    task = task_make(
        "texts",
        docs,
        output_type="loglikelihood_rolling",
        metric_list=[{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    )
    result, _ = measured({"texts": task}, {}, tiny_model_directory, tiny_loaded)
    assert result["samples"] == []
    by_metric = {one["metric"]: one for one in result["scores"]}
    assert set(by_metric) == {"word_perplexity", "bits_per_byte"}
    assert by_metric["bits_per_byte"]["higher_is_better"] is False


def test_an_item_that_occurs_twice_counts_once(
    task_make: Any, tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    doc = {"question": "Which?", "choices": [" a", " b"], "target": 0}
    task = task_make(
        "twice",
        [doc, doc],
        output_type="multiple_choice",
        doc_to_choice="choices",
        doc_to_target="target",
        metric_list=[{"metric": "acc"}],
    )
    result, _ = measured({"twice": task}, {}, tiny_model_directory, tiny_loaded)
    assert len(result["samples"]) == result["scores"][0]["n"] == 1


@pytest.mark.parametrize("target", [4, -1, "d", ""])
def test_a_choice_without_a_right_answer_is_refused_by_item(
    task_make: Any, tiny_model_directory: Path, tiny_loaded: Any, target: int | str
) -> None:
    docs = [
        {"question": f"Which of {i}?", "choices": ["a", "b"], "target": one}
        for i, one in enumerate([0, target])
    ]
    task = task_make(
        "asked",
        docs if isinstance(target, int) else [doc | {"target": str(doc["target"])} for doc in docs],
        output_type="multiple_choice",
        doc_to_choice="choices",
        doc_to_target="target" if isinstance(target, int) else "{{target}}",
        metric_list=[{"metric": "acc"}],
    )
    with pytest.raises(EngineError, match="has no right answer") as refusal:
        measured({"asked": task}, {}, tiny_model_directory, tiny_loaded)
    assert refusal.value.where == "benchmark bench"


def test_a_free_answer_that_is_missing_is_refused_by_item(
    task_make: Any, tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    task = task_make(
        "asked",
        [{"question": "1 + 1 =", "target": "2"}, {"question": "2 + 2 =", "target": ""}],
        output_type="generate_until",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 2},
        metric_list=[{"metric": "exact_match"}],
    )
    with pytest.raises(EngineError, match="ending in “2 \\+ 2 =” has no right answer"):
        measured({"asked": task}, {}, tiny_model_directory, tiny_loaded)


def test_choices_named_by_their_text_have_margins(
    task_make: Any, tiny_model_directory: Path, tiny_loaded: Any
) -> None:
    fields = {"output_type": "multiple_choice", "doc_to_choice": "choices"}
    by_text = task_make(
        "by_text",
        [{"question": "Which?", "choices": ["a", "bb"], "target": "bb"}],
        metric_list=[{"metric": "acc"}],
        **fields,
    )
    result, _ = measured({"by_text": by_text}, {}, tiny_model_directory, tiny_loaded)
    (row,) = result["samples"]
    right, wrong = (text_nats(tiny_loaded, "Which?", text) for text in (" bb", " a"))
    assert row["target"] == "bb"
    assert row["margin_nats"] == pytest.approx(right - wrong, abs=1e-3)


def test_examples_drawn_item_by_item_bar_adaptive_mode(task_make: Any) -> None:
    """In another order, or one by one, the same items would get other examples."""
    docs = [{"question": f"{i} + {i} =", "target": str(2 * i)} for i in range(6)]
    shots: dict[str, Any] = {"output_type": "loglikelihood", "fewshot_split": "test"}
    benchmark = BenchmarkConfig(name="bench", source="lm_eval")
    right = Item(doc_hash="d", prompt_hash="p", target_hash="t", correct=True)

    def reason(name: str, **fields: Any) -> str:
        tasks = {name: task_make(name, docs, **shots, **fields)}
        prepared = BenchmarkTasks(config=benchmark, tasks=tasks, indices={}, item_count=6)
        return whole_reason(prepared, {"bench": [right]})

    assert reason("none") == ""
    assert "drawn item by item" in reason("drawn", num_fewshot=2)
    assert reason("first", num_fewshot=2, fewshot_config={"sampler": "first_n"}) == ""
    prepared = BenchmarkTasks(config=benchmark, tasks={}, indices={}, item_count=6)
    assert "no right or wrong" in whole_reason(prepared, {})


LOUD = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}" + (
    "{% if add_generation_prompt %}<answer>{% if loud is defined and loud %}!{% endif %}{% endif %}"
)


@pytest.fixture
def chatting(tiny_loaded: Any) -> Any:
    """The tiny model with a template whose every mark can be told from text."""
    tokenizer = copy.copy(tiny_loaded.tokenizer)
    tokenizer.chat_template = LOUD
    return replace(tiny_loaded, tokenizer=tokenizer)


@pytest.mark.parametrize("loud", [False, True])
def test_a_question_can_be_asked_through_the_chat_template(
    task_make: Any, tiny_model_directory: Path, chatting: Any, loud: bool
) -> None:
    """The oracle: the likelihoods of the answers behind the text that the template writes."""
    docs = [{"question": f"Sky {n}?", "choices": ["blue", "green"], "target": 0} for n in range(3)]
    fields = {"output_type": "multiple_choice", "doc_to_choice": "choices"}
    metric = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
    task = task_make("sky", docs, metric_list=[metric], **fields)
    asked = {"chat_template": True, "template_arguments": {"loud": loud}}
    result, _ = measured({"sky": task}, {}, tiny_model_directory, chatting, **asked)
    for doc, row in zip(docs, result["samples"], strict=True):
        text = f"<user>{doc['question']}<answer>" + ("!" if loud else "")
        blue, green = (text_nats(chatting, text, choice) for choice in ("blue", "green"))
        assert row["margin_nats"] == pytest.approx(blue - green, abs=1e-4)
    with pytest.raises(EngineError, match="knows no such thing"):
        wrong = {"chat_template": True, "template_arguments": {"lowd": True}}
        measured({"sky": task}, {}, tiny_model_directory, chatting, **wrong)


def test_a_free_answer_through_the_chat_template(
    task_make: Any, tiny_model_directory: Path, chatting: Any
) -> None:
    docs = [{"question": f"{n} + {n} =", "target": str(2 * n)} for n in range(3)]
    metric = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}
    task = task_make(
        "sums",
        docs,
        output_type="generate_until",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 4},
        metric_list=[metric],
    )
    result, _ = measured({"sums": task}, {}, tiny_model_directory, chatting, chat_template=True)
    for doc, row in zip(docs, result["samples"], strict=True):
        nats = text_nats(chatting, f"<user>{doc['question']}<answer>", doc["target"])
        assert row["margin_nats"] == pytest.approx(nats, abs=1e-4)


def test_examples_before_the_question_are_turns(
    task_make: Any, tiny_model_directory: Path, chatting: Any
) -> None:
    docs = [{"question": f"Sky {n}?", "choices": ["blue", "green"], "target": 0} for n in range(3)]
    task = task_make(
        "sky",
        docs,
        output_type="multiple_choice",
        doc_to_choice="choices",
        doc_to_target="{{choices[target]}}",
        fewshot_split="test",
        fewshot_config={"sampler": "first_n"},
        num_fewshot=1,
        metric_list=[{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    )
    result, _ = measured({"sky": task}, {}, tiny_model_directory, chatting, chat_template=True)
    text = "<user>Sky 0?<assistant>blue<user>Sky 2?<answer>"
    blue, green = (text_nats(chatting, text, choice) for choice in ("blue", "green"))
    assert result["samples"][2]["margin_nats"] == pytest.approx(blue - green, abs=1e-4)
