"""Exports, files that were damaged or read again, and a restricted model, in every state."""

import shutil
from pathlib import Path
from types import SimpleNamespace

from django.utils import timezone

from engine.manifest import manifest_write
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.services import (
    checkpoint_delete,
    checkpoint_register,
    language_model_register,
    model_people_set,
)
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.handover.models import Export
from ftportal.handover.services import damage_note, export_finish, export_request
from ftportal.jobs.models import JobState
from ftportal.jobs.supervisor import job_run_now
from ftportal.promotions.services import reread_request
from tests.ftportal import house
from tests.ftportal.dashboard import world
from tests.serving_model import serving_model_write


def hand_over_more(rooms: SimpleNamespace, folder: Path) -> None:
    """A model that can be a GGUF, with exports in every state; rereads; a model for few."""
    cast = rooms.cast
    files = serving_model_write(folder / "served")
    rooms.served = language_model_register(
        name="Served", source="made by the tests", note="", licence="Apache-2.0", directory=files
    )
    anchor = rooms.served.pretrained
    _measure(anchor, rooms.suite)
    rooms.exports = {
        "measured": _export(anchor, "Q8_0", measured=True),
        "waiting": export_request(source=anchor, quantisation="Q4_K_M", submitter=cast.tina),
    }
    first, second, third = (_child(rooms, files, folder / name) for name in ("One", "Two", "Three"))
    rooms.exports |= {
        "deleted": _export(first, "Q8_0", measured=True),
        "measuring": _export(first, "Q4_K_M"),
        "failed": export_request(source=second, quantisation="Q8_0", submitter=cast.tina),
    }
    result = rooms.exports["deleted"].result
    assert result is not None
    checkpoint_delete(checkpoint=result)
    job = rooms.exports["failed"].job
    job.state, job.finish_handled = JobState.FAILED, True
    job.error_message, job.error_cure = "The disk is full", "Make room."
    job.finished_at = timezone.now()
    job.save()
    rooms.exportable, rooms.exporting = third, (anchor, first, second)
    _read(rooms)
    rooms.restricted = house.model_make("For few")
    model_people_set(language_model=rooms.restricted, is_restricted=True, people=[cast.tina])


def _child(rooms: SimpleNamespace, files: Path, folder: Path) -> Checkpoint:
    """A checkpoint of Tina's run, with files of its own."""
    shutil.copytree(files, folder)
    (folder / "note.txt").write_text(folder.name)
    manifest_write(folder)
    return checkpoint_register(
        parent=rooms.served.pretrained,
        name=f"Served {folder.name.lower()}",
        directory=folder,
        displacement_pretrained=1.5,
    )


def _export(source: Checkpoint, quantisation: str, *, measured: bool = False) -> Export:
    """An export whose file is there: small, and as if the engine had written it."""
    export = export_request(source=source, quantisation=quantisation, submitter=None)
    job = export.job
    job.output_directory.mkdir(parents=True)
    file = job.output_directory / f"{source}-{quantisation}.gguf".replace(" ", "-")
    file.write_bytes(f"{source} {quantisation}".encode())
    manifest_write(job.output_directory)
    job.state, job.finish_handled = JobState.SUCCEEDED, True
    job.save()
    export.summary = {"file": file.name, "file_sha256": "e" * 64, "size_bytes": 4_200_000}
    export.save()
    export_finish(job=job)
    export = Export.objects.select_related("result", "source", "job").get(pk=export.pk)
    if measured:
        assert export.result is not None
        suite = Evaluation.objects.get(checkpoint=export.result).suite
        world.judged(_measure(source, suite), _measure(export.result, suite))
    return export


def _measure(checkpoint: Checkpoint, suite: Suite) -> Evaluation:
    """As if it had been measured by the suite, with outcomes like everybody's."""
    waiting = Evaluation.objects.filter(checkpoint=checkpoint, suite=suite).select_related("job")
    for one in waiting:
        if one.measured:
            return one
        one.delete()
        one.job.delete()
    return world.evaluation_make(checkpoint=checkpoint, suite=suite, **world.SAME)


def _read(rooms: SimpleNamespace) -> None:
    """One is read again and unchanged, one has changed, one waits; one broke off a download."""
    first, second, third = (
        house.checkpoint_make(rooms.served, name, rooms.served.pretrained, run_by=rooms.cast.tina)
        for name in ("Whole", "Flipped", "Waits to be read")
    )
    file = second.directory / "model.safetensors"
    rooms.as_it_was = file.read_bytes()
    file.write_bytes(b"!" * 32)
    for one in (first, second):
        job_run_now(reread_request(checkpoint=one, asked_by=rooms.cast.ada).job)
    reread_request(checkpoint=third, asked_by=rooms.cast.ada)
    problem = "model.safetensors was changed after it was made: its hash differs."
    damage_note(checkpoint=second, file_name="model.safetensors", problem=problem)
    rooms.whole, rooms.flipped, rooms.waits_to_be_read = first, second, third
