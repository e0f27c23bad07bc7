"""What a run changed: the engine's record as charts, as a table, or not at all."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ftportal.checkpoints.models import Checkpoint
from ftportal.jobs.models import JobState
from ftportal.runs.changes import changes_of, short_names
from ftportal.runs.models import Run
from tests.ftportal.house import measure

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def tensor(relative: float = 0.01, **more: Any) -> dict[str, Any]:
    return {"norm": 0.5, "relative": relative, "shape": [8, 4], **more}


def record(tensors: dict[str, Any]) -> str:
    return json.dumps({"parent": {"norm": 1.0, "relative": 0.1, "tensors": tensors}})


@pytest.fixture
def made(submit: Callable[..., Run], parent: Checkpoint) -> Callable[[str], Run]:
    """`made(text)`: a run whose output has this displacement.json."""

    def make(text: str) -> Run:
        run = submit()
        run.output = Checkpoint.objects.create(
            language_model=parent.language_model,
            parent=parent,
            name="Child",
            path="checkpoints/child",
            manifest_hash="c" * 64,
            size_bytes=1,
        )
        run.save()
        run.output.directory.mkdir(parents=True)
        (run.output.directory / "displacement.json").write_text(text)
        return run

    return make


def test_gpt2_names_make_a_map_too(made: Callable[[str], Run]) -> None:
    tensors = {
        f"transformer.h.{layer}.{part}.weight": tensor(entropy_rank=2.5, rank_90=2)
        for layer in range(3)
        for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    }
    tensors["transformer.wte.weight"] = tensor(rank_reason="it did not move")
    tensors["transformer.h.0.ln_1.weight"] = {"norm": 0.1, "relative": None, "shape": [8]}
    changes = changes_of(made(record(tensors)).output)
    assert changes is not None
    moved, ranks = changes.charts
    assert len(moved.rows) == 14
    assert len(ranks.rows) == 13
    assert ranks.rows[-1][0] == "transformer.wte.weight: it did not move"
    assert moved.scale == ("0", "1 %")
    assert (changes.rank_matrices, changes.rank_matrices_measured) == (13, 12)


def test_names_are_as_short_as_they_can_be() -> None:
    names = short_names(["self_attn.q_proj", "attn.c_proj", "mlp.c_proj"])
    assert list(names.values()) == ["q_proj", "attn.c_proj", "mlp.c_proj"]


@pytest.mark.parametrize(
    "names",
    [
        [f"model.layers.0.mlp.experts.{n}.up_proj.weight" for n in range(20)],
        ["encoder<b>.weight", "head.weight"],
    ],
)
def test_names_that_do_not_fit_a_map_make_a_table(
    made: Callable[[str], Run],
    client_of: Callable[..., Client],
    cast: SimpleNamespace,
    names: list[str],
) -> None:
    """Sorted by what moved most, with the reason for a missing rank; escaped as all text is."""
    tensors = {name: tensor((n + 1) / 100) for n, name in enumerate(names)}
    run = made(record(tensors))
    changes = changes_of(run.output)
    assert changes is not None
    assert changes.charts == []
    assert [one.name for one in changes.tensors] == names[::-1]
    page = client_of(cast.otto).get(reverse("runs:run", args=[run.pk])).content.decode()
    assert 'id="changes"' in page
    assert "encoder<b>" not in page


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"parent": null}',
        '{"parent": {"tensors": {"a": 1}}}',
        '{"parent": {"tensors": {"a": {"norm": "x"}}}}',
        "[" * 100_000,
    ],
)
def test_a_record_that_cannot_be_read_is_left_out(made: Callable[[str], Run], text: str) -> None:
    assert changes_of(made(text).output) is None


def test_deleted_files_have_no_record(made: Callable[[str], Run]) -> None:
    output = made(record({"a.0.b.weight": tensor()})).output
    assert output is not None
    assert changes_of(output) is not None
    output.deleted_at = timezone.now()
    assert changes_of(output) is None
    assert changes_of(None) is None


def test_records_of_earlier_versions_have_no_ranks(made: Callable[[str], Run]) -> None:
    """They hold no shapes either, so nothing is known to be a matrix."""
    changes = changes_of(made(record({"a.0.b.weight": {"norm": 1, "relative": 0.1}})).output)
    assert changes is not None
    assert changes.charts == []
    assert not changes.tensors[0].rank_is_known


def test_forecast_and_outcome_stand_side_by_side(
    made: Callable[[str], Run], client_of: Callable[..., Client], cast: SimpleNamespace
) -> None:
    run = made(record({"a.0.b.weight": tensor()}))
    run.forecast |= {"displacement": 1.8, "displacement_low": 0.4, "displacement_high": 7.0}
    run.summary = {"displacement": 2.3}
    run.save()
    page = client_of(cast.otto).get(reverse("runs:run", args=[run.pk])).content.decode()
    assert "2.30 <small>forecast 1.8 (0.4 to 7)</small>" in page
    assert "Forecast for the end 1.8 (0.4 to 7), measured 2.3." in page


def test_the_losses_of_several_batches_stand_beside_their_mean(
    submit: Callable[..., Run], client_of: Callable[..., Client], cast: SimpleNamespace, talks: Any
) -> None:
    run = submit()
    rows = [("loss_nats", 1.0), (f"loss_nats/batch/b{talks.pk}", 0.25)]
    rows += [("decision_tokens_per_second", 50.0), ("context_tokens_per_second", 400.0)]
    for name, value in rows:
        measure(run, {1: value}, name)
    page = client_of(cast.otto).get(reverse("runs:run_figures", args=[run.pk])).content.decode()
    assert "<dt>Loss, Talks</dt><dd>0.250</dd>" in page
    assert "<dt>Loss, General mix</dt><dd>–</dd>" in page
    assert "450 <small>tokens/s: 50 decision, 400 context</small>" in page
    alone = submit("Alone", mixture=[(talks, 1.0)])
    page = client_of(cast.otto).get(reverse("runs:run_figures", args=[alone.pk])).content.decode()
    assert "Loss, Talks" not in page


def test_going_on_with_a_session_and_going_on_from_its_checkpoint_are_two_buttons(
    made: Callable[[str], Run], client_of: Callable[..., Client], cast: SimpleNamespace
) -> None:
    run = made(record({"a.0.b.weight": tensor()}))
    tina = client_of(cast.tina)

    def page(state: JobState, resume_state: str) -> str:
        run.job.state, run.job.resume_state, run.job.finish_handled = state, resume_state, True
        run.job.save()
        return tina.get(reverse("runs:run", args=[run.pk])).content.decode()

    on_new_data = f'href="{reverse("runs:run_new")}?parent={run.output_id}"'
    done = page(JobState.SUCCEEDED, "")
    assert on_new_data in done
    assert "Continue on new data from this checkpoint" in done
    assert reverse("runs:run_resume", args=[run.pk]) not in done
    form = tina.get(reverse("runs:run_new") + f"?parent={run.output_id}").content.decode()
    assert f'value="{run.output_id}" selected' in form
    Run.objects.filter(pk=run.pk).update(output=None)
    stopped = page(JobState.CANCELLED, "attempts/1/trainer/step-000004")
    assert reverse("runs:run_resume", args=[run.pk]) in stopped
    assert "Resume this session" in stopped
    assert "Continue on new data" not in stopped
