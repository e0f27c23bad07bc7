"""What pages read about handing over."""

import json
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import Sum

from ftportal.accounts.models import Role, User
from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import CHAMPION, champion
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.presentation import VerdictPage, verdict_page
from ftportal.evaluations.selectors import (
    DivergenceRow,
    default_suite,
    divergence_rows,
    evaluation_of,
    latest_verdict,
)
from ftportal.handover.aliases import aliases_directory
from ftportal.handover.lines import ReadyLine, ready_lines
from ftportal.handover.models import AliasFolder, Damage, Export
from training.ahead.exports import export_bytes, export_problem
from training.config.export import QUANTISATIONS

DOWNLOADERS = (Role.TRAINER, Role.RELEASER, Role.ADMINISTRATOR)
"""Who may take weights out of the portal. Anybody with a login reads the card."""
EXPORTERS = (Role.TRAINER, Role.RELEASER)


@lru_cache(maxsize=256)
def _problem(manifest_hash: str, directory: Path) -> str:
    """As `export_problem`; a checkpoint's files never change, and a tokenizer is long to read."""
    return export_problem(directory)


def export_refusal(checkpoint: Checkpoint) -> str:
    """Why a checkpoint cannot be exported, told from its files alone; empty where it can."""
    if checkpoint.deleted_at is not None:
        return "Its files were deleted."
    return _problem(checkpoint.manifest_hash, checkpoint.directory)


def export_size_bytes(checkpoint: Checkpoint, quantisation: str) -> int:
    """About how large an export will be."""
    count = checkpoint.language_model.parameter_count
    try:
        config = json.loads((checkpoint.directory / "config.json").read_bytes())
        sides = int(config["vocab_size"]), int(config["hidden_size"])
    except (OSError, ValueError, KeyError, TypeError):
        sides = 0, 0
    return export_bytes(quantisation, count, *sides)


def free_bytes() -> int:
    """Room on the disk that the portal's files lie on."""
    return shutil.disk_usage(settings.FTPORTAL_DATA).free


@dataclass(frozen=True, kw_only=True)
class ExportRow:
    """One quantisation of a checkpoint on its page."""

    quantisation: str
    export: Export | None
    expected_bytes: int
    evaluation: Evaluation | None = None
    """By the default suite; also of a file that was deleted since."""
    suite: Suite | None = None
    page: VerdictPage | None = None
    """What it cost, against the checkpoint itself."""
    distances: list[DivergenceRow]
    waits_for: str = ""
    """Why there is no verdict yet."""

    @property
    def can_be_asked(self) -> bool:
        """Whether it is missing and nothing is making it."""
        return self.export is None or (not self.export.is_there and self.export.job.is_settled)


def export_rows(checkpoint: Checkpoint) -> list[ExportRow]:
    """A row for every quantisation there is, made or not."""
    made = {
        one.quantisation: one
        for one in Export.objects.filter(source=checkpoint).select_related(
            "source", "result__parent", "job", "submitter"
        )
    }
    return [_row(checkpoint, name, made.get(name)) for name in QUANTISATIONS]


def _row(checkpoint: Checkpoint, quantisation: str, export: Export | None) -> ExportRow:
    values: dict[str, Any] = {"distances": [], "suite": default_suite()}
    suite, result = values["suite"], export.result if export else None
    if result is not None and suite is None:
        values["waits_for"] = "No suite is the default yet, so nothing measures it."
    elif result is not None:
        evaluation = evaluation_of(result, suite)
        verdict = latest_verdict(result, checkpoint, suite)
        values["evaluation"] = evaluation
        values["page"] = verdict_page(verdict) if verdict else None
        values["distances"] = divergence_rows(evaluation) if evaluation else []
        if verdict is None:
            values["waits_for"] = _why_no_verdict(checkpoint, suite, evaluation)
    return ExportRow(
        quantisation=quantisation,
        export=export,
        expected_bytes=export_size_bytes(checkpoint, quantisation),
        **values,
    )


def _why_no_verdict(checkpoint: Checkpoint, suite: Suite, evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return f"It is not measured by {suite} yet."
    if evaluation.problem:
        return evaluation.problem
    if evaluation.measured:
        return f"The verdict follows as soon as {checkpoint} is measured."
    return "" if evaluation.job.is_live else "Its measurement did not come to its end."


@dataclass(frozen=True, kw_only=True)
class Panel:
    """All that a checkpoint's page says about handing it over."""

    checkpoint: Checkpoint
    may_download: bool
    may_export: bool
    may_delete: bool
    alias_path: Path | None
    """Where serving finds it, while it is the champion."""
    damages: list[Damage]
    refusal: str
    rows: list[ExportRow]
    lines: list[ReadyLine]
    exports_bytes: int
    free_bytes: int


def panel_of(checkpoint: Checkpoint, user: User) -> Panel:
    """What one person sees of it."""
    rows = export_rows(checkpoint)
    ready = next((row.export for row in rows if row.export and row.export.is_there), None)

    def may(*roles: Role) -> bool:
        return any(user.has_role(role) for role in roles)

    return Panel(
        checkpoint=checkpoint,
        may_download=may(*DOWNLOADERS),
        may_export=may(*EXPORTERS),
        may_delete=may(Role.TRAINER, Role.ADMINISTRATOR),
        alias_path=_alias_path(checkpoint),
        damages=_damages([checkpoint.pk, *_results(rows)]),
        refusal=export_refusal(checkpoint),
        rows=rows,
        lines=ready_lines(checkpoint, ready),
        exports_bytes=exports_bytes(),
        free_bytes=free_bytes(),
    )


def _damages(checkpoints: list[int]) -> list[Damage]:
    there = Damage.objects.filter(checkpoint__deleted_at__isnull=True)
    return list(there.filter(checkpoint__in=checkpoints))


def _results(rows: list[ExportRow]) -> list[int]:
    return [row.export.result_id for row in rows if row.export and row.export.result_id]


def exports_bytes() -> int:
    """What all exports of the portal take on the disk."""
    there = Export.objects.filter(result__deleted_at__isnull=True)
    return there.aggregate(total=Sum("size_bytes"))["total"] or 0


def _alias_path(checkpoint: Checkpoint) -> Path | None:
    if champion(checkpoint.language_model) != checkpoint:
        return None
    folder = AliasFolder.objects.filter(language_model=checkpoint.language_model_id).first()
    return aliases_directory() / folder.name / CHAMPION if folder else None
