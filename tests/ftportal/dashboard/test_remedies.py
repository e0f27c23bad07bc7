"""What is proposed after a forgotten verdict: each opens a form that holds the proposal."""

import re
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.urls import reverse

from ftportal.blends.models import Blend
from ftportal.evaluations.remedies import Remedy, remedies
from tests.ftportal.dashboard import world


def of(run: Any) -> dict[str, Remedy]:
    """The proposals by the first words of their titles."""
    return {one.title.split(":")[0]: one for one in remedies(world.output_of(run))}


def fields(remedy: Remedy) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(remedy.url).query).items()}


def weights_in(query: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if re.fullmatch(r"weight_\d+", name)}


def shares(query: dict[str, str]) -> dict[int, float]:
    weights = {int(name[7:]): float(value) for name, value in weights_in(query).items()}
    return {pk: weight / sum(weights.values()) for pk, weight in weights.items()}


def test_they_come_mildest_first(contrast: SimpleNamespace) -> None:
    assert list(of(contrast.reckless)) == [
        "Half the rate",
        "The highest rate known to be safe",
        "More general examples",
        "A longer pause between sessions",
        "Elastic weight consolidation (EWC)",
        "LoRA at 1e-4",
        "A blend with its parent",
    ]
    assert all(one.reason for one in of(contrast.reckless).values())


def test_half_the_rate_changes_nothing_else(contrast: SimpleNamespace) -> None:
    result = fields(of(contrast.reckless)["Half the rate"])
    assert float(result["learning_rate"]) == 1.5e-4
    assert result["method"] == "adamw" and result["parent"] == str(contrast.anchor.pk)
    assert result[f"weight_{contrast.answers.pk}"] == "1"
    safe = fields(of(contrast.reckless)["The highest rate known to be safe"])
    assert float(safe["learning_rate"]) == 5e-5
    assert "The highest rate known to be safe" not in of(contrast.careful)


def test_general_examples_are_added_or_raised(contrast: SimpleNamespace) -> None:
    none_yet = shares(fields(of(contrast.reckless)["More general examples"]))
    assert max(none_yet, key=lambda pk: none_yet[pk]) == contrast.answers.pk
    assert sorted(none_yet.values()) == pytest.approx([0.3, 0.7], abs=1e-3)
    a_quarter = shares(fields(of(contrast.careful)["More general examples"]))
    assert a_quarter[contrast.answers.pk] == pytest.approx(0.7, abs=1e-3)
    general = world.batch_make(name="More", model=contrast.model, kind="general")
    run = world.run_make(
        name="Mixed", parent=contrast.anchor, mixture=[(contrast.answers, 1), (general, 1)]
    )
    half = shares(fields(of(run)["More general examples"]))
    assert half[contrast.answers.pk] == pytest.approx(0.4, abs=1e-3)


def test_without_a_general_batch_one_is_asked_for(contrast: SimpleNamespace) -> None:
    other = world.model_make("Other")
    batch = world.batch_make(name="Own", model=other)
    result = of(world.run_make(name="Alone", parent=other.pretrained, mixture=[(batch, 1)]))
    assert result["More general examples"].url == reverse("datasets:batch_new")
    assert "Elastic weight consolidation (EWC)" not in result  # it needs general examples


def test_ewc_brings_the_general_examples_that_it_needs(contrast: SimpleNamespace) -> None:
    result = fields(of(contrast.reckless)["Elastic weight consolidation (EWC)"])
    assert (result["ewc_strength"], result["ewc_variant"]) == ("1", "row")
    assert sorted(shares(result).values()) == pytest.approx([0.3, 0.7], abs=1e-3)
    kept = fields(of(contrast.careful)["Elastic weight consolidation (EWC)"])
    assert sorted(shares(kept).values()) == pytest.approx([0.25, 0.75])


def test_a_session_with_ewc_or_lora_is_not_told_what_it_did(contrast: SimpleNamespace) -> None:
    run = world.run_make(
        name="Defended",
        parent=contrast.anchor,
        mixture=[(contrast.answers, 1)],
        method={"name": "lora"},
        defences={"ewc_strength": 2.0, "ewc_variant": "diagonal"},
    )
    result = of(run)
    assert "A stronger EWC" in result and "LoRA at 1e-4" not in result
    stronger = fields(result["A stronger EWC"])
    assert (stronger["ewc_strength"], stronger["ewc_variant"]) == ("20", "diagonal")


def test_every_form_holds_its_proposal(contrast: SimpleNamespace, client_of: Any) -> None:
    client = client_of(contrast.cast.tina)
    for title, remedy in of(contrast.reckless).items():
        if not remedy.url:
            assert title == "A longer pause between sessions"
            continue
        page = client.get(remedy.url)
        assert page.status_code == 200, title
        if title != "A blend with its parent":
            form = page.context["form"]
            wanted = {k: v for k, v in fields(remedy).items() if k in form.fields}
            shown = {name: str(form[name].value()) for name in wanted}
            shown["context_frozen"] = wanted["context_frozen"] = ""
            assert shown == wanted, title
            weights = {f"weight_{row.batch.pk}": row.text for row in page.context["rows"]}
            assert weights_in(fields(remedy)).items() <= weights.items()
        else:
            assert b'value="25, 50, 75"' in page.content


def test_the_report_shows_them_only_after_a_forgotten_verdict(
    contrast: SimpleNamespace, client_of: Any
) -> None:
    def page(person: Any, run: Any) -> str:
        url = reverse("evaluations:report", args=[run.output_id])
        return str(client_of(person).get(url).content.decode())

    trainer = page(contrast.cast.tina, contrast.reckless)
    assert "What to try now" in trainer and "Open the run form with it" in trainer
    reader = page(contrast.cast.otto, contrast.reckless)
    assert "What to try now" in reader and "Open the run form with it" not in reader
    assert "What to try now" not in page(contrast.cast.tina, contrast.careful)


def test_a_blend_that_forgot_goes_nearer_to_the_parent(contrast: SimpleNamespace) -> None:
    made = world.checkpoint_make(name="Half way", parent=contrast.anchor)
    Blend.objects.create(
        candidate=contrast.reckless.output,
        alpha=0.5,
        result=made,
        job=world.job_make(title="Blend", kind="blend"),
    )
    (one,) = remedies(made)
    assert "25 %" in one.title and one.url.endswith("?percents=25")


def test_a_checkpoint_of_neither_has_none(contrast: SimpleNamespace) -> None:
    assert remedies(world.checkpoint_make(name="From elsewhere", parent=contrast.anchor)) == []
