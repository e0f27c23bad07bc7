"""One flipped byte in a model, a batch, a held-out set or a prompt is named at every door."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from engine.manifest import manifest_write
from engine.seals import Seal, SealError, seals_check
from evaluation.judging.rule import Rule
from ftportal.blends.services import blends_request
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.services import checkpoint_register
from ftportal.datasets.models import HeldOutSet, Prompt
from ftportal.datasets.services import held_out_set_create
from ftportal.evaluations.models import Suite
from ftportal.evaluations.services import (
    evaluation_request,
    suite_create,
    verdict_rule_create,
)
from ftportal.handover.models import Export
from ftportal.jobs.models import Job, JobState
from ftportal.jobs.registry import JobRefusedError, kind_of
from ftportal.jobs.services import job_submit
from ftportal.jobs.supervisor import job_run_now
from ftportal.learnability.services import learnability_request
from ftportal.promotions.ledger import ledger_check, ledgers_check
from ftportal.promotions.models import PromotionEvent
from ftportal.promotions.services import PromotionRefusedError, promote, rollback
from ftportal.reviews.services import spot_check_open
from ftportal.runs.services import run_submit
from tests.ftportal.house import batch_make, prompts_make
from tests.tiny_model import tiny_model_write

pytestmark = pytest.mark.django_db


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@dataclass
class House:
    """A model with a child, a batch, a held-out set and prompts, and jobs that read them."""

    model: Any
    child: Checkpoint
    batch: Any
    held_out: HeldOutSet
    suite: Suite
    jobs: dict[str, Job]


@pytest.fixture
def house(language_model: Any, cast: SimpleNamespace, tmp_path: Path) -> House:
    output = tmp_path / "output"
    tiny_model_write(output, seed=5)
    manifest_write(output)
    child = checkpoint_register(
        parent=language_model.pretrained,
        name="Child",
        directory=output,
        displacement_pretrained=1.0,
    )
    batch = batch_make(language_model, "Talks", count=24)
    held_out = held_out_set_create(
        name="Prose", domain="prose", source="here", documents=["A text of some words."]
    )
    suite = suite_create(
        name="Texts",
        description="",
        benchmarks=[],
        held_out_sets=[held_out],
        settings={},
        rule=verdict_rule_create(name="Standard", rule=Rule()),
        is_default=True,
    )
    run = run_submit(
        submitter=cast.tina,
        name="Session",
        parent=child,
        mixture=[(batch, 1.0)],
        recipe={"learning_rate": 1e-5, "max_steps": 1},
        probe_set=held_out,
    )
    (blend,) = blends_request(candidate=child, alphas=[0.5], submitter=cast.tina)
    evaluation = (
        Job.objects.filter(evaluation__checkpoint=child).first()
        or evaluation_request(checkpoint=child, suite=suite, created_by=cast.tina).job
    )
    scoring = learnability_request(batch=batch, checkpoint=child, created_by=cast.tina)
    check = spot_check_open(
        candidate=child,
        baseline=language_model.pretrained,
        prompt_set=prompts_make(3),
        submitter=cast.tina,
    )
    exporting = job_submit(kind="export", title="Export Child", created_by=cast.tina)
    Export.objects.create(source=child, quantisation="Q8_0", job=exporting)
    return House(
        model=language_model,
        child=child,
        batch=batch,
        held_out=held_out,
        suite=suite,
        jobs={
            "train": run.job,
            "blend": blend.job,
            "measure": evaluation,
            "score": scoring.job,
            "answer": check.candidate_answers.job,
            "export": exporting,
        },
    )


def seals_of(job: Job) -> list[Seal]:
    return kind_of(job.kind).seals(job)


def named(seals: Iterable[Seal]) -> str:
    """What a check of the seals names; empty where all of them hold."""
    try:
        seals_check(list(seals))
    except SealError as error:
        return error.where
    return ""


DAMAGE: dict[str, Callable[[House], Path]] = {
    "model": lambda house: house.child.directory / "model.safetensors",
    "anchor": lambda house: house.model.pretrained.directory / "model.safetensors",
    "batch": lambda house: house.batch.examples_path,
    "held out": lambda house: house.held_out.path,
}


@pytest.mark.parametrize(
    ("what", "doors"),
    [
        (
            "model",
            {
                "train": "checkpoint Child",
                "blend": "checkpoint Child",
                "export": "checkpoint Child",
            },
        ),
        (
            "anchor",
            {
                "train": "checkpoint Tiny, pre-trained",
                "blend": "checkpoint Tiny, pre-trained",
                "measure": "checkpoint Tiny, pre-trained",
            },
        ),
        ("batch", {"train": "batch Talks", "score": "batch Talks"}),
        ("held out", {"train": "held-out text Prose", "measure": "held-out text Prose"}),
    ],
)
def test_a_flipped_byte_breaks_the_seal_at_each_door(
    house: House, what: str, doors: dict[str, str]
) -> None:
    assert {door: named(seals_of(job)) for door, job in house.jobs.items()} == dict.fromkeys(
        house.jobs, ""
    )
    flip(DAMAGE[what](house))
    assert {door: named(seals_of(house.jobs[door])) for door in doors} == doors


@pytest.mark.parametrize("door", ["measure", "score", "answer"])
def test_the_model_that_is_asked_is_checked_by_the_hash_in_the_config(
    house: House, door: str
) -> None:
    job = house.jobs[door]
    assert kind_of(job.kind).config(job)["manifest_sha256"] == house.child.manifest_hash


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("what", "door", "words"),
    [
        ("batch", "train", "batch Talks"),
        ("model", "blend", "checkpoint Child"),
        ("model", "answer", "model"),
        ("model", "export", "checkpoint Child"),
        ("held out", "measure", "held-out text Prose"),
    ],
)
def test_the_engine_refuses_and_the_job_says_why(
    house: House, what: str, door: str, words: str
) -> None:
    flip(DAMAGE[what](house))
    job = job_run_now(house.jobs[door])
    assert (job.state, job.error_where) == (JobState.FAILED, words)
    assert "changed" in job.error_message


def test_a_changed_prompt_is_named(house: House) -> None:
    prompt = Prompt.objects.get(position=2)
    Prompt.objects.filter(pk=prompt.pk).update(messages=[{"role": "user", "content": "Other?"}])
    job = house.jobs["answer"]
    with pytest.raises(JobRefusedError, match="Prompt 2 was changed"):
        kind_of(job.kind).config(job)


def test_promotion_and_rollback_name_the_file(house: House, cast: SimpleNamespace) -> None:
    flip(house.child.directory / "model.safetensors")
    with pytest.raises(PromotionRefusedError, match=r"model\.safetensors was changed"):
        promote(checkpoint=house.child, actor=cast.leo, reason="try")
    flip(house.model.pretrained.directory / "model.safetensors")
    with pytest.raises(PromotionRefusedError, match=r"model\.safetensors was changed"):
        rollback(
            language_model=house.model, to=house.model.pretrained, actor=cast.leo, reason="try"
        )


def test_a_changed_batch_is_not_exported(
    house: House, cast: SimpleNamespace, client_of: Any
) -> None:
    client = client_of(cast.otto)
    url = reverse("datasets:examples", args=[house.batch.pk])
    whole = b"".join(client.get(url).streaming_content)
    assert whole == house.batch.examples_path.read_bytes()
    flip(house.batch.examples_path)
    page = client.get(url, follow=True).content.decode()
    assert "Talks was not exported: it was changed on the disk" in page


def rewrite(model: Any, **changes: Any) -> None:
    """Change the newest entry as somebody would who can write into the database."""
    from ftportal.promotions.ledger import event_hash

    event = PromotionEvent.objects.filter(language_model=model).first()
    assert event is not None
    for name, value in changes.items():
        setattr(event, name, value)
    event.hash = event_hash(event)
    PromotionEvent._base_manager.filter(pk=event.pk).update(hash=event.hash, **changes)


def test_a_rewritten_chain_is_found_and_nothing_is_promoted_or_rolled_back(
    house: House, cast: SimpleNamespace, client_of: Any, capsys: Any
) -> None:
    assert ledger_check(house.model).intact and ledgers_check() == []
    call_command("ledger_check")
    rewrite(house.model, reason="another story")
    check = ledger_check(house.model)
    assert (check.broken_number, check.problem) == (1, "it is not sealed with the portal's key")
    with pytest.raises(CommandError, match="1 ledger does not hold"):
        call_command("ledger_check")
    assert "entry 1" in capsys.readouterr().err
    with pytest.raises(PromotionRefusedError, match="does not hold at entry 1"):
        promote(checkpoint=house.child, actor=cast.leo, reason="try")
    with pytest.raises(PromotionRefusedError, match="does not hold at entry 1"):
        rollback(language_model=house.model, to=house.child, actor=cast.leo, reason="try")
    assert "does not hold at entry 1" in client_of(cast.otto).get("/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_dropped_entry_is_missed_by_the_exported_heads(house: House) -> None:
    PromotionEvent._base_manager.all()._raw_delete("default")
    check = ledger_check(house.model)
    assert (check.broken_number, "is gone" in check.problem) == (1, True)
