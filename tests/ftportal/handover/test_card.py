"""The model card: YAML that the hub's own reader takes, and every piece of evidence."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from evaluation.judging.paired import Document, Item
from evaluation.judging.pairing import paired_benchmark, paired_perplexity
from evaluation.judging.rule import Rule
from evaluation.judging.verdict import verdict
from ftportal.evaluations.services.verdicts import verdict_fields
from ftportal.handover.card import model_card
from ftportal.promotions.ledger import ledger_append
from ftportal.promotions.models import PromotionAction
from tests.ftportal.house import (
    approval_make,
    checkpoint_make,
    evaluation_make,
    model_make,
    verdict_make,
)

pytestmark = pytest.mark.django_db


def items(right: int) -> list[Item]:
    return [
        Item(
            doc_hash=f"d{number}",
            prompt_hash="p",
            target_hash="t",
            correct=number < right,
            margin_nats=None,
            cluster=None,
        )
        for number in range(60)
    ]


def documents(nats: float) -> list[Document]:
    return [
        Document(doc_hash=f"d{number}", nll_nats=nats + number, tokens=100) for number in range(12)
    ]


def judged(candidate: object, baseline: object) -> None:
    made = verdict_make(candidate, baseline)  # type: ignore[arg-type]
    judgement = verdict(
        [paired_benchmark(name="local_arithmetic", before=items(40), after=items(41))],
        [paired_perplexity(domain="Prose", before=documents(200), after=documents(201))],
        Rule(),
        {"local_arithmetic": "Arithmetic"},
    )
    for name, value in verdict_fields(judgement).items():
        setattr(made, name, value)
    made.save()


def parts_of(card: str) -> tuple[dict, str]:
    _, head, body = card.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_head_is_what_the_hub_reads(served: SimpleNamespace, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    path = tmp_path / "README.md"
    path.write_text(model_card(served.child))
    data = ModelCard.load(path).data
    assert (data.license, data.base_model) == ("apache-2.0", "Makers/Small-Chat")
    assert (data.library_name, data.pipeline_tag) == ("transformers", "text-generation")
    assert data.tags == ["ftportal", "fine-tuned"]


@pytest.mark.parametrize("name", ['He said "yes": #1', "- a\n: b", "---", "{x}", "日本 *bold* |"])
def test_no_name_breaks_the_head_or_a_table(served: SimpleNamespace, name: str) -> None:
    served.child.name = name
    served.child.save()
    head, body = parts_of(model_card(served.child))
    assert head["library_name"] == "transformers"
    for line in body.splitlines():
        if line.startswith("|"):
            cells = line.replace("\\|", "").strip("|").split("|")
            assert len(cells) in (2, 5, 6, 7), line
    assert "*star*" not in body  # typed by people, so it is shown and not obeyed


def test_it_says_what_was_learned_and_by_which_recipe(served: SimpleNamespace) -> None:
    card = model_card(served.child)
    for batch, share in zip(served.batches, ("75 %", "25 %"), strict=True):
        row = next(line for line in card.splitlines() if batch.sha256 in line)
        assert share in row
    assert "| Method | APOLLO" in card and "| Learning rate |" in card
    assert "de-quantised from 4 bit" in card
    assert "It was not measured" in card and "It was not promoted" in card
    assert served.child.manifest_hash in card


def test_it_says_what_it_cost_with_intervals_against_each(served: SimpleNamespace) -> None:
    judged(served.child, served.anchor)
    card = model_card(served.child)
    head, _ = parts_of(card)
    assert "### Retained, against the pre-trained model, which is its parent" in card
    (row,) = [line for line in card.splitlines() if line.startswith("| Arithmetic")]
    assert "60 items | 66.7 % | 68.3 % | +1.7 points |" in row
    assert row.count(" to ") == 1
    (text,) = [line for line in card.splitlines() if line.startswith("| perplexity, Prose")]
    assert "12 texts" in text and "+1.0 %" in text
    assert head.get("model-index") is None  # nothing measured in detail here


def test_it_names_reviewers_the_plan_and_the_entry_of_the_ledger(
    cast: SimpleNamespace, data_dir: Path
) -> None:
    model = model_make()
    candidate = checkpoint_make(model, "Zebra nine", model.pretrained, run_by=cast.tina)
    check = approval_make(candidate, model.pretrained, cast.rob)
    event = ledger_append(
        language_model=model,
        action=PromotionAction.PROMOTE,
        actor=cast.leo,
        to=candidate,
        reason="the night's | best",
        evidence={},
    )
    card = model_card(candidate)
    assert "Judged blind by Rob. Defects that count: 0." in card
    assert "each judged by one reviewer who sees no names" in card
    assert "no population claim" in card
    assert f"Approved by Rob on {check.decided_at:%Y-%m-%d}" in card
    (row,) = [line for line in card.splitlines() if event.hash in line]
    assert row.startswith(
        f"| 2 | Promoted | {event.created_at:%Y-%m-%d %H:%M} UTC | Leo | the night's"
    )
    assert model_card(candidate) == card


def test_the_anchor_has_a_card_too(served: SimpleNamespace) -> None:
    card = model_card(served.anchor)
    assert "as it was registered" in card
    assert "First champion" in card


def test_the_hub_reads_the_figures_as_results(served: SimpleNamespace) -> None:
    from huggingface_hub import ModelCard

    from ftportal.evaluations.models import Sample

    evaluation = evaluation_make(served.child)
    for number in range(4):
        Sample.objects.create(
            evaluation=evaluation,
            benchmark="local_arithmetic",
            doc_hash=f"d{number}",
            prompt_hash="p",
            target_hash="t",
            correct=number < 3,
            question="1 + 1",
            target="2",
            answer="2",
        )
    data: Any = ModelCard(model_card(served.child)).data
    (result,) = data.eval_results
    assert (data.model_name, result.dataset_name) == (served.child.name, "Arithmetic (4)")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.75)
