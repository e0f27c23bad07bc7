"""What happens in the data folder of the upgrade test, step by step.

Everything is real: a tiny model is registered, batches are read, sessions train, measurements and
verdicts follow, people vote, a champion comes and goes. Nothing but public services is called.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PASSWORD = "correct horse"
STOPPED = {
    "Stopped in APOLLO": {"method": {"name": "apollo", "rank": 4}, "learning_rate": 1e-3},
    "Stopped in LoRA": {
        "method": {"name": "lora", "rank": 4},
        "learning_rate": 1e-3,
        "defences": {"ewc_strength": 1.0, "ewc_examples": 4},
    },
}
"""The sessions that are stopped half-way."""
STOPPED_STEPS = 240


def work() -> None:
    """Run queued jobs and what follows from them until nothing is queued."""
    from ftportal.jobs.models import Job, JobState
    from ftportal.jobs.supervisor import job_run_now

    while (
        job := Job.objects.filter(state=JobState.QUEUED).order_by("queued_at").first()
    ) is not None:
        began = time.monotonic()
        ended = job_run_now(job)
        print(f"  {ended}: {ended.state} in {time.monotonic() - began:.0f} s", flush=True)  # noqa: T201


def people(world: SimpleNamespace) -> None:
    """One person for each role, and one without any."""
    from ftportal.accounts.models import User

    roles = {
        "tina": {"is_trainer": True},
        "rob": {"is_reviewer": True},
        "rosa": {"is_reviewer": True},
        "leo": {"is_releaser": True},
        "ada": {"is_superuser": True, "is_staff": True},
        "otto": {},
    }
    for name, role in roles.items():
        fields: dict[str, Any] = {"first_name": name.capitalize(), **role}
        person = User.objects.create_user(name, password=PASSWORD, **fields)
        setattr(world, name, person)


def upload(name: str, text: str) -> Any:
    """`text` as an uploaded file."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    return SimpleUploadedFile(name, text.encode())


def measures(world: SimpleNamespace) -> None:
    """Held-out texts, an own benchmark, a rule in two versions, a default suite and another."""
    from evaluation.rule import Rule  # type: ignore[import-not-found]  # as it was

    from ftportal.datasets.services import default_prompt_set_seed, held_out_set_create
    from ftportal.evaluations.services import (
        own_benchmark_upload,
        suite_create,
        verdict_rule_create,
    )

    world.prose = held_out_set_create(
        name="Street", domain="prose", source="made here", documents=prose(16)
    )
    world.code = held_out_set_create(
        name="Sums", domain="code", source="made here", documents=code(16)
    )
    default_prompt_set_seed()
    items = [
        {"question": f"{a} plus {b} is", "choices": [str(a + b), str(a + b + 2)], "answer": 0}
        for a, b in ((2, 3), (4, 5), (6, 1), (7, 7), (3, 9), (8, 2))
    ]
    own = own_benchmark_upload(
        uploaded_by=world.tina,
        name="Sums of ours",
        description="Six sums.",
        file=upload("sums.jsonl", "".join(json.dumps(one) + "\n" for one in items)),
    )
    verdict_rule_create(name="Our rule", rule=Rule())
    rule = verdict_rule_create(name="Our rule", rule=Rule(pooled_margin=0.2, default_margin=0.3))
    settings = {"window_tokens": 128, "stride_tokens": 64, "max_document_tokens": 128}
    local = [
        {"name": name, "source": "local", "limit": 8}
        for name in ("local_arithmetic", "local_language", "local_reasoning")
    ]
    world.suite = suite_create(
        name="Ours",
        description="Three local benchmarks, one of our own, two texts.",
        benchmarks=[*local, {"name": own.key, "source": "own", "limit": None}],
        held_out_sets=[world.prose, world.code],
        settings=settings,
        rule=rule,
        is_default=True,
    )
    world.second_suite = suite_create(
        name="Language alone",
        description="One local benchmark.",
        benchmarks=[{"name": "local_language", "source": "local", "limit": 24}],
        held_out_sets=[],
        settings=settings,
        rule=rule,
    )


def prose(count: int) -> list[str]:
    """Short made-up texts."""
    things = ("bridge", "mill", "school", "market", "tower", "well", "garden", "station")
    return [
        f"House {number} stands behind the {things[number % 8]}. In {1800 + 7 * number} it was "
        f"given {number + 2} windows, and its roof looks over the {things[(number + 3) % 8]}."
        for number in range(1, count + 1)
    ]


def code(count: int) -> list[str]:
    """Short made-up functions."""
    return [
        f"def step_{number}(value):\n    total = value * {number} + {number * number}\n"
        f"    return total % {number + 11}\n"
        for number in range(1, count + 1)
    ]


def model(world: SimpleNamespace) -> None:
    """A tiny model with random weights; its pre-trained checkpoint is measured."""
    from ftportal.checkpoints.services import language_model_register
    from tests.tiny_model import tiny_model_write

    with tempfile.TemporaryDirectory() as folder:
        directory = tiny_model_write(Path(folder) / "model", hidden_size=16, layers=1)
        world.model = language_model_register(
            name="Tiny", source="made here", note="", licence="Apache-2.0", directory=directory
        )
    world.anchor = world.model.pretrained
    work()


def batches(world: SimpleNamespace) -> None:
    """Two batches that are read, one that is refused."""
    from ftportal.datasets.services import batch_upload

    def one(name: str, kind: str, text: str) -> Any:
        batch = batch_upload(
            uploaded_by=world.tina,
            language_model=world.model,
            name=name,
            kind=kind,
            decision_rule="last",
            file=upload(f"{name.lower()}.jsonl", text),
        )
        work()
        batch.refresh_from_db()
        return batch

    examples = Path("examples")
    world.formal = one("Formal", "personality", (examples / "formal-answers.jsonl").read_text())
    world.general = one("General", "general", (examples / "general-mix.jsonl").read_text())
    one("Broken", "conversation", '{"messages": "none"}\nnot json\n')


def train(world: SimpleNamespace, name: str, parent: Any, **recipe: Any) -> Any:
    """Submit a session of Tina's on both batches, both watched and diagnosed."""
    from ftportal.runs.services import run_submit

    return run_submit(
        submitter=world.tina,
        name=name,
        parent=parent,
        mixture=[(world.formal, 0.75), (world.general, 0.25)],
        recipe={"max_steps": 12, "watch": {"watch_every_steps": 6}, **recipe},
        probe_set=world.prose,
    )


def fresh(row: Any) -> Any:
    """The row as the database has it now."""
    return type(row).objects.get(pk=row.pk)


def first_champion(world: SimpleNamespace) -> None:
    """A careful session passes every gate and becomes the champion."""
    from ftportal.promotions.services import promote
    from ftportal.reviews.models import SpotCheck
    from ftportal.reviews.services import spot_check_decide

    careful = {"method": {"name": "apollo", "rank": 4}, "learning_rate": 1e-5}
    world.careful = train(world, "Careful", world.anchor, **careful)
    work()
    world.careful = fresh(world.careful)
    check = SpotCheck.objects.get(candidate=world.careful.output)
    votes(check, world.rob, count=None)
    spot_check_decide(
        spot_check=fresh(check), decided_by=world.rosa, approve=True, reason="No defect of its own."
    )
    promote(
        checkpoint=world.careful.output,
        actor=world.leo,
        reason="Measured and approved.",
        accept_inconclusive=True,
    )


def votes(check: Any, reviewer: Any, count: int | None) -> None:
    """Judge the first `count` prompts, None is all; every third answer of the baseline is bad."""
    from ftportal.reviews.services import vote_cast
    from ftportal.reviews.sides import candidate_is_left

    for number, item in enumerate(list(check.items.all())[:count]):
        left = candidate_is_left(item, reviewer)
        bad = number % 3 == 0
        vote_cast(
            item=item,
            reviewer=reviewer,
            preference=("left", "right", "tie", "both_bad")[number % 4],
            left_defective=bad and not left,
            left_reason="It says nothing." if bad and not left else "",
            right_defective=bad and left,
            right_reason="It says nothing." if bad and left else "",
        )


def sessions(world: SimpleNamespace) -> None:
    """A reckless session, one that diverges, one on top of the champion; a half-judged check."""
    from ftportal.reviews.models import SpotCheck

    reckless = {"method": {"name": "adamw"}, "max_gradient_norm": None}
    world.reckless = train(world, "Reckless", world.anchor, learning_rate=0.5, **reckless)
    train(world, "Diverged", world.anchor, learning_rate=1e30, **reckless)
    lora = {"method": {"name": "lora", "rank": 4}, "learning_rate": 1e-4}
    defences = {"defences": {"l2_strength": 0.1, "mask_below_probability": 1e-6}}
    world.second = train(world, "Second", fresh(world.careful).output, **lora, **defences)
    work()
    for check in SpotCheck.objects.exclude(candidate=world.careful.output):
        votes(check, world.rob, count=5)


def extras(world: SimpleNamespace) -> None:
    """A blend, a repeated measurement, one that stops early, and the way back."""
    from ftportal.blends.services import blends_request
    from ftportal.evaluations.models import Evaluation
    from ftportal.evaluations.services import early_request, evaluation_repeat, evaluation_request
    from ftportal.promotions.services import rollback

    who = {"created_by": world.tina}
    candidate = fresh(world.reckless).output
    blends_request(candidate=candidate, alphas=[0.5], submitter=world.tina)
    first = Evaluation.objects.get(checkpoint=world.anchor, suite=world.suite)
    evaluation_repeat(evaluation=first, **who)
    champion = fresh(world.careful).output
    evaluation_request(checkpoint=champion, suite=world.second_suite, **who)
    work()
    early_request(checkpoint=candidate, suite=world.second_suite, **who)
    work()
    rollback(
        language_model=world.model, to=world.anchor, actor=world.leo, reason="Trying the way back."
    )
    work()


def stopped(world: SimpleNamespace) -> None:
    """Sessions that are stopped half-way with a state to resume from, and one that waits."""
    for name, recipe in STOPPED.items():
        run = train(world, name, world.anchor, **recipe, max_steps=STOPPED_STEPS, epochs=20)
        stop_half_way(run)
    train(world, "Waiting", world.anchor, method={"name": "adamw"})


def stop_half_way(run: Any) -> None:
    """Run the job and ask it to stop once it has taken a third of its steps."""
    from django.db import connection

    from ftportal.jobs.models import Job, JobState
    from ftportal.jobs.services import job_stop
    from ftportal.jobs.supervisor import job_run_now

    def stop() -> None:
        until(lambda: (Job.objects.get(pk=run.job_id).progress_done or 0) >= STOPPED_STEPS / 3)
        job_stop(job=Job.objects.get(pk=run.job_id))
        connection.close()

    stopper = threading.Thread(target=stop)
    stopper.start()
    job = job_run_now(run.job)
    stopper.join()
    if job.state != JobState.CANCELLED or not job.resume_state:
        raise SystemExit(f"{run} was not stopped half-way but {job.state}: {job.error_message}")
    print(f"  {run}: stopped at {job.progress_done} of {job.progress_total}", flush=True)  # noqa: T201


def until(condition: Callable[[], bool]) -> None:
    """Wait for it, at most three minutes."""
    deadline = time.monotonic() + 180
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("waited in vain")
        time.sleep(0.05)


STEPS = (people, measures, model, batches, first_champion, sessions, extras, stopped)
"""In this order; each adds to the same `world`."""
