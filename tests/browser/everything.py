"""A portal with one of everything, in every state that has a page of its own; no engine of torch.

What a new kind of thing needs is one more line here and one in `tests.upgrade.routes.OBJECTS`.
"""

import io
import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django.core.files import File
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from ftportal.accounts.models import Role, User
from ftportal.accounts.services import person_invite, reset_link_make
from ftportal.checkpoints.intakes.services import model_take_in
from ftportal.checkpoints.models import LanguageModel
from ftportal.datasets.models import Batch, HeldOutSet
from ftportal.datasets.reading import reading_finish
from ftportal.datasets.services import (
    batch_upload,
    batch_version,
    batch_withdraw,
    held_out_set_create,
)
from ftportal.datasets.services.uploading import upload_begin
from ftportal.evaluations.models import Evaluation
from ftportal.evaluations.services import evaluation_repeat, own_benchmark_upload
from ftportal.jobs.models import Job, JobState
from ftportal.learnability.services import learnability_request
from ftportal.mixtures.services import mixture_make
from ftportal.promotions.services import promote
from ftportal.reviews.models import SpotCheck
from ftportal.reviews.services import spot_check_decide
from tests.browser.handed_over import hand_over_more
from tests.browser.reviewed import reviews_more
from tests.ftportal import house
from tests.ftportal.blends.test_views import HALF, blend_made
from tests.ftportal.dashboard import world
from tests.ftportal.learnability.test_learnability import MEANS, scored

MEASURES = "Which of these rivers flows through the city of Vienna before the sea"


def furnish(cast: SimpleNamespace, model_directory: Path, folder: Path) -> SimpleNamespace:
    """Everything. `rooms.walker` is an administrator who holds every other role too; `rooms.seer`
    does not review, so nothing is kept from them. `folder` is for files that are made on the way.
    """
    rooms = world.contrast_make(cast)
    rooms.walker = walker_make()
    rooms.seer = walker_make("seer", is_reviewer=False)
    _measures(rooms)
    rooms.little = model_take_in(
        name="Little",
        source="made by the tests",
        note="Random weights.",
        licence="Apache-2.0",
        directory=model_directory,
        submitter=rooms.walker,
    )
    _people(rooms)
    _batches(rooms)
    _runs(rooms)
    _reviews(rooms)
    reviews_more(rooms)
    hand_over_more(rooms, folder)
    return rooms


def walker_make(name: str = "walker", **roles: bool) -> User:
    """Who may do everything but what `roles` take away."""
    every = {"is_trainer": True, "is_reviewer": True, "is_releaser": True, "is_superuser": True}
    person = User(
        username=name,
        first_name=name.capitalize(),
        email=f"{name}@example.org",
        **every | roles,
    )
    person.set_password("correct horse")
    person.save()
    return person


def _people(rooms: SimpleNamespace) -> None:
    """Invitations, a link for a new password, and somebody who is kept out."""
    cast = rooms.cast
    invite = {"invited_by": cast.ada, "roles": [Role.TRAINER]}
    rooms.invitation = person_invite(display_name="Ivo", email="ivo@example.org", **invite)
    rooms.reset = reset_link_make(person=cast.otto, made_by=cast.ada)
    User.objects.create(username="gone", first_name="Gone", is_active=False)


def _measures(rooms: SimpleNamespace) -> None:
    """Held-out texts with their files, an own benchmark, prompts, a repeated measurement."""
    for held_out in HeldOutSet.objects.all():  # those of the world have rows alone
        held_out.path.parent.mkdir(parents=True, exist_ok=True)
        held_out.path.write_text(lines(*({"text": f"Text {n} of {held_out}"} for n in range(4))))
    held_out_set_create(
        name="Rivers", domain="prose", source="made here", documents=[MEASURES, "A second text."]
    )
    items = [{"question": f"{n} and 1", "choices": [str(n + 1), "0"], "answer": 0} for n in (1, 2)]
    text = "".join(json.dumps(item) + "\n" for item in items)
    rooms.benchmark = own_benchmark_upload(
        uploaded_by=rooms.cast.tina,
        name="Sums",
        description="Two sums.",
        file=SimpleUploadedFile("sums.jsonl", text.encode()),
    )
    house.prompts_make(3, name="Everyday")
    evaluation_repeat(evaluation=rooms.evaluation_before, created_by=rooms.cast.tina)


def talk(number: int, **more: Any) -> dict[str, Any]:
    """A conversation that is not held out for any number below 12."""
    turns = [
        {"role": "user", "content": f"question {number}"},
        {"role": "assistant", "content": f"answer {number}"},
    ]
    return {"messages": turns, **more}


def trajectory(number: int) -> dict[str, Any]:
    """An agent's way with a tool call and an outcome."""
    call = {"id": "c", "function": {"name": "look", "arguments": "{}"}}
    turns = [
        {"role": "user", "content": f"task {number}"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "seen"},
        {"role": "assistant", "content": f"<think>hm {number}</think>done {number % 3}"},
    ]
    return {"traj": turns, "reward": float(number % 4 == 0)}


def lines(*records: Any) -> str:
    """Records as JSON lines."""
    return "".join(json.dumps(record) + "\n" for record in records)


def uploaded(
    model: LanguageModel, by: User, name: str, text: str, *, kind: str = "conversation"
) -> Batch:
    """A batch that is uploaded and not read yet."""
    suffix = "jsonl" if text.startswith("{") else "csv"
    return batch_upload(
        uploaded_by=by,
        language_model=model,
        name=name,
        kind=kind,
        decision_rule="last",
        file=File(io.BytesIO(text.encode()), name=f"{name.lower()}.{suffix}"),
    )


def read(batch: Batch) -> Batch:
    """The batch after the engine has read it."""
    reading_finish(house.engine_run(batch))
    batch.refresh_from_db()
    return batch


def _batches(rooms: SimpleNamespace) -> None:
    """A batch in every state, its versions, scores and mixtures."""
    little, tina = rooms.little, rooms.cast.tina

    def one(name: str, *records: Any, kind: str = "conversation") -> Batch:
        return read(uploaded(little, tina, name, lines(*records), kind=kind))

    rooms.talks = house.batch_make(little, "Talks", count=12)
    rooms.general_talks = house.batch_make(little, "General talks", count=12, kind="general")
    rooms.spare = house.batch_make(little, "Spare", count=12)
    rooms.agent = one("Agent", *(trajectory(n) for n in range(12)), kind="agent_log")
    words = " ".join(f"word{n}" for n in range(60))
    mail = {"prompt": "who is it", "completion": "write to jo.doe@firma.de"}
    rooms.repeats = one(
        "Repeats", *({"prompt": f"{words} {n}", "completion": "as before"} for n in "abc"), mail
    )
    rooms.asking = one("Moods", talk(1, mood="calm"), talk(2), talk(3))
    rooms.contaminated = one("Rivers asked", talk(4), {"prompt": f"{MEASURES}?", "completion": "a"})
    rooms.preference = one(
        "Pairs", *({"prompt": f"q{n}", "chosen": "g", "rejected": "b"} for n in "12")
    )
    rooms.columns = read(
        uploaded(
            little, tina, "Table", "question,answer\n" + "".join(f"q{n},a{n}\n" for n in "123")
        )
    )
    rooms.refused = one("Broken", talk(5), {"messages": "none"}, talk(6))
    uploaded(little, tina, "Reading", lines(talk(7), talk(8)))
    rooms.version = read(
        batch_version(batch=rooms.agent, made_by=tina, reason="Calls too", decision_rule="all")
    )
    batch_withdraw(batch=one("Withdrawn", talk(9), talk(10)), reason="Consent was taken back.")
    rooms.upload = upload_begin(
        user=rooms.walker, filename="long.jsonl", fingerprint="long", size_bytes=10
    )
    ask = {"checkpoint": little.pretrained, "created_by": tina}
    scored(learnability_request(batch=rooms.talks, **ask), MEANS)
    learnability_request(batch=rooms.agent, **ask)
    rooms.mixture = mixture_make(
        name="Autumn",
        language_model=little,
        parts=[(rooms.talks, "new", 1.0), (rooms.general_talks, "general", 1.0)],
        general_share=0.25,
        note="The first.",
        made_by=tina,
    )


def _runs(rooms: SimpleNamespace) -> None:
    """A run in every state, blends, and jobs of all kinds."""
    cast, state = rooms.cast, JobState
    fields: dict[str, tuple[str, dict[str, Any]]] = {
        "Waits": (state.QUEUED, {}),
        "Goes on": (state.RUNNING, {"progress_done": 5, "progress_total": 20}),
        "Stopped": (state.CANCELLED, {"resume_state": "attempts/1/trainer/step-5"}),
        "Failed": (state.FAILED, {"error_message": "Out of memory", "error_cure": "Use less."}),
    }
    rooms.runs = {
        name: world.run_make(
            name=name,
            parent=rooms.little.pretrained,
            submitter=cast.tina,
            mixture=[(rooms.talks, 1)],
            losses=[] if started == state.QUEUED else [3.0, 2.0, 1.5],
            state=started,
            job={"progress_unit": "steps", "created_by": cast.tina, **job},
        )
        for name, (started, job) in fields.items()
    }
    job = rooms.runs["Goes on"].job
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() + timedelta(hours=1), fence=1)
    rooms.blend = blend_made(rooms, 0.5, **HALF)


def _reviews(rooms: SimpleNamespace) -> None:
    """Spot-checks in every state, a ledger with a promotion, and a candidate that is ready.

    The checks open by themselves when a candidate is measured and has not forgotten.
    """
    cast, anchor = rooms.cast, rooms.anchor
    before = [rooms.evaluation_before]

    def checked(name: str, *, answered: bool = True) -> SpotCheck:
        made = house.checkpoint_make(rooms.model, name, anchor, run_by=cast.tina)
        after = world.evaluation_make(checkpoint=made, suite=rooms.suite, **world.SAME)
        for one in before:
            world.judged(one, after)
        check = SpotCheck.objects.filter(candidate=made).latest("pk")
        if answered:
            house.answers_give(check)
        return check

    def approved(name: str) -> SpotCheck:
        check = checked(name)
        house.votes_give(check, cast.rob)
        return spot_check_decide(
            spot_check=check, decided_by=cast.rob, approve=True, reason="As good as before."
        )

    first = approved("First").candidate
    promote(checkpoint=first, actor=cast.leo, reason="Better in every way.")
    before.append(Evaluation.objects.get(checkpoint=first))
    rooms.decided_check = approved("Ready")
    rooms.ready = rooms.decided_check.candidate
    rooms.open_check = checked("In review")
    rooms.judged_check = checked("Judged")
    house.votes_give(rooms.judged_check, cast.rob, defects=1)
    rooms.preparing_check = checked("Answering", answered=False)
    uncompared = house.checkpoint_make(rooms.model, "Uncompared", anchor, run_by=cast.tina)
    world.evaluation_make(checkpoint=uncompared, suite=rooms.suite, **world.SAME)
