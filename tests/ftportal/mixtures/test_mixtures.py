"""Mixtures: shares and totals by hand, versions, what cannot be, and the runs that use them."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from ftportal.datasets.models import Batch
from ftportal.datasets.services import batch_withdraw
from ftportal.mixtures.models import Mixture
from ftportal.mixtures.selectors import first_examples, part_rows, weights_of
from ftportal.mixtures.services import MixtureError, mixture_delete, mixture_make
from ftportal.runs.models import Run
from ftportal.runs.services import RunRefusedError, run_submit
from tests.ftportal.house import batch_make
from training.ahead.mixture import example_order

pytestmark = pytest.mark.django_db


@pytest.fixture
def batches(language_model: Any) -> SimpleNamespace:
    """Two batches to learn, a general one, and one that was learnt before."""
    return SimpleNamespace(
        talks=batch_make(language_model, "Talks", count=30),
        logs=batch_make(language_model, "Logs", count=20, kind="agent_log"),
        general=batch_make(language_model, "General", count=40, kind="general"),
        old=batch_make(language_model, "Old", count=12),
    )


def parts(batches: SimpleNamespace) -> list[tuple[Batch, str, float]]:
    return [
        (batches.talks, "new", 3.0),
        (batches.logs, "new", 1.0),
        (batches.general, "general", 1.0),
        (batches.old, "replay", 2.0),
    ]


@pytest.fixture
def mixture(language_model: Any, batches: SimpleNamespace, cast: SimpleNamespace) -> Mixture:
    """60 % to learn in the proportion 3 : 1, 25 % general, 15 % replay."""
    return mixture_make(
        name="Autumn",
        language_model=language_model,
        parts=parts(batches),
        general_share=0.25,
        replay_share=0.15,
        order_seed=7,
        made_by=cast.tina,
    )


def test_shares_and_totals_are_those_of_a_calculation_by_hand(
    mixture: Mixture, batches: SimpleNamespace
) -> None:
    assert weights_of(mixture) == pytest.approx(
        {
            batches.talks.pk: 45.0,
            batches.logs.pk: 15.0,
            batches.general.pk: 25.0,
            batches.old.pk: 15.0,
        }
    )
    rows = part_rows(mixture)
    total = sum(one.trained_count for one in vars(batches).values())
    assert [row.drawn for row in rows] == [
        round(total * share) for share in (0.45, 0.15, 0.25, 0.15)
    ]
    old = batches.old
    tokens = rows[3].drawn * (old.context_token_count + old.decision_token_count)
    assert rows[3].tokens == pytest.approx(tokens / old.example_count)
    assert rows[3].times == pytest.approx(rows[3].drawn / old.trained_count)


def test_the_first_examples_are_those_that_training_draws(
    mixture: Mixture, batches: SimpleNamespace
) -> None:
    chosen = [batches.talks, batches.logs, batches.general, batches.old]
    trained = [
        [record for record in map(json.loads, batch.examples_path.open()) if not record["held_out"]]
        for batch in chosen
    ]
    order = example_order([len(one) for one in trained], [45.0, 15.0, 25.0, 15.0], epochs=1, seed=7)
    shown = first_examples(mixture)
    assert len(shown) == 50
    for (batch, place), example in zip(order, shown, strict=False):
        record = trained[batch][place]
        assert (example.batch, example.line) == (chosen[batch], record["line"])
        assert example.answer == record["turns"][-1]["content"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, "needs a name"),
        ({"name": "Autumn"}, "There is a mixture Autumn already"),
        ({"general_share": 0.0}, "general share is 0"),
        ({"replay_share": 0.0}, "replay share is 0"),
        ({"general_share": 0.9, "replay_share": 0.5}, "leave nothing to learn"),
        ({"general_share": float("nan")}, "not from 0 to 95"),
        ({"parts": lambda b: [(b.general, "general", 1.0)], "replay_share": 0.0}, "nothing new"),
        ({"parts": lambda b: [*parts(b), (b.talks, "new", 1.0)]}, "chosen twice"),
        ({"parts": lambda b: parts(b)[:3]}, "15 % are to be replay, but no batch is"),
        ({"parts": lambda b: [*parts(b)[:3], (b.old, "replay", 0.0)]}, "not above 0"),
        ({"parts": lambda b: [*parts(b)[:3], (b.old, "other", 1.0)]}, "'other' is not a role"),
    ],
)
def test_what_cannot_be_a_mixture_is_said(
    mixture: Mixture,
    language_model: Any,
    batches: SimpleNamespace,
    changes: dict[str, Any],
    message: str,
) -> None:
    values: dict[str, Any] = {"name": "Other", "parts": parts}
    values |= {"general_share": 0.25, "replay_share": 0.15}
    values |= changes
    values["parts"] = values["parts"](batches)
    with pytest.raises(MixtureError, match=message):
        mixture_make(language_model=language_model, **values)
    assert Mixture.objects.count() == 1


def test_versions_are_counted_and_never_change(
    mixture: Mixture, language_model: Any, batches: SimpleNamespace
) -> None:
    second = mixture_make(
        name="",
        language_model=language_model,
        parts=[(batches.talks, "new", 1.0)],
        version_of=mixture,
        note="only the talks",
    )
    assert (second.name, second.version, str(second)) == ("Autumn", 2, "Autumn, version 2")
    assert len(weights_of(mixture)) == 4


def submit(cast: Any, mixture: Mixture, language_model: Any, **changes: Any) -> Run:
    weights = weights_of(mixture)
    values: dict[str, Any] = {
        "submitter": cast.tina,
        "name": "Session",
        "parent": language_model.pretrained,
        "mixture": [(Batch.objects.get(pk=key), weight) for key, weight in weights.items()],
        "recipe": {"learning_rate": 1e-5, "seed": mixture.order_seed},
        "from_mixture": mixture,
    }
    return run_submit(**values | changes)


def test_a_run_names_the_mixture_that_it_draws_and_no_other(
    mixture: Mixture, language_model: Any, cast: SimpleNamespace
) -> None:
    run = submit(cast, mixture, language_model)
    assert run.from_mixture == mixture
    other = submit(
        cast, mixture, language_model, name="Other seed", recipe={"learning_rate": 1e-5, "seed": 8}
    )
    assert other.from_mixture is None
    with pytest.raises(MixtureError, match="was used by a run"):
        mixture_delete(mixture=mixture)


def test_a_withdrawn_batch_is_shown_on_its_mixtures_and_refused_by_runs(
    mixture: Mixture, language_model: Any, batches: SimpleNamespace, client_of: Any, cast: Any
) -> None:
    batch_withdraw(batch=batches.logs, reason="no consent")
    page = client_of(cast.tina).get(reverse("mixtures:mixture", args=[mixture.pk]))
    text = page.content.decode()
    assert "Logs was withdrawn." in text and "no consent" in text
    assert f"?mixture={mixture.pk}" not in text
    with pytest.raises(RunRefusedError, match="it was withdrawn"):
        submit(cast, mixture, language_model)


def test_the_run_form_begins_with_the_mixture_and_says_when_it_is_left(
    mixture: Mixture, batches: SimpleNamespace, client_of: Any, cast: Any
) -> None:
    client = client_of(cast.tina)
    text = client.get(reverse("runs:run_new"), {"mixture": mixture.pk}).content.decode()
    assert f'name="weight_{batches.talks.pk}" id="id_weight_{batches.talks.pk}" value="45"' in text
    assert f'name="mixture" value="{mixture.pk}"' in text
    fields = {f"weight_{key}": f"{weight:g}" for key, weight in weights_of(mixture).items()}
    fields |= {"mixture": str(mixture.pk), "seed": "7"}
    fields["parent"] = str(mixture.language_model.pretrained.pk)
    same = client.post(reverse("runs:run_preview"), fields).content.decode()
    assert "no longer those of" not in same
    moved = client.post(reverse("runs:run_preview"), fields | {"seed": "8"}).content.decode()
    assert "no longer those of Autumn" in moved


def test_a_mixture_is_made_in_the_browser_and_looked_at(
    batches: SimpleNamespace, client_of: Any, cast: Any
) -> None:
    client = client_of(cast.tina)
    new = reverse("mixtures:mixture_new")
    fields = {"name": "Mine", "general_percent": "25", "replay_percent": "0", "order_seed": "3"}
    fields |= {
        f"weight_{batches.talks.pk}": "1",
        f"role_{batches.talks.pk}": "new",
        f"weight_{batches.general.pk}": "x",
        f"role_{batches.general.pk}": "general",
    }
    refused = client.post(new, fields)
    assert refused.status_code == 422
    assert "Write a number such as 1 or 0.25" in refused.content.decode()
    made = client.post(new, fields | {f"weight_{batches.general.pk}": "1"}, follow=True)
    text = made.content.decode()
    assert "25 % general" in text and "order by seed 3" in text
    mixture = Mixture.objects.get()
    first = client.get(reverse("mixtures:first", args=[mixture.pk])).content.decode()
    assert "answer" in first and "of Talks" in first
    listing = client.get(reverse("mixtures:mixtures")).content.decode()
    assert "Mine" in listing
    version = client.get(new, {"of": mixture.pk}).content.decode()
    assert "A new version of Mine" in version and 'value="25"' in version


@pytest.mark.parametrize("name", ["mixture_new", "mixture_delete"])
def test_only_a_trainer_makes_and_deletes(
    mixture: Mixture, client_of: Any, cast: Any, name: str
) -> None:
    url = reverse(f"mixtures:{name}", args=[] if name == "mixture_new" else [mixture.pk])
    assert client_of(cast.otto).post(url).status_code == 403
    assert Mixture.objects.count() == 1
