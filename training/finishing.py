"""What follows a session's last step: the change is measured, and the output is written."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpus.conversations import ChatEncoder
from engine.attempt import Attempt
from training.loop import Session
from training.measures.budget import RANK_SECONDS_MIN
from training.measures.displacement import Displacement
from training.measures.rank import ChangeRanks, MatrixRank
from training.measures.reporting import Reporter
from training.output import output_write
from training.tensors.mapping import TensorMap
from training.tensors.writing import weights_write


def session_finish(session: Session, encoder: ChatEncoder, tensors: TensorMap) -> dict[str, Any]:
    """Measure the change, write attempts/<N>/output, and return the done event's summary.

    All ranks must call it; the first one writes, the others return nothing.
    """
    config, attempt, reporter = session.config, session.attempt, session.reporter
    if not session.braked:
        session.holding.same_check()
    model = session.holding.at_rest()
    if model is None:
        return {}
    parent, anchor = reporter.displacement.measure(model)
    ranks = _ranks_measure(reporter, config.diagnostics.diagnostics_share, attempt)
    if not session.holding.ranks.first:
        weights_write(None, Path(config.model), model, tensors)
        return {}
    summary = reporter.summary(step=session.step, parent=parent, anchor=anchor)
    summary |= _ranks_summary(reporter.diagnostics.ranks, ranks)
    summary["tensors_carried"] = len(tensors.carried)
    attempt.events.progress(done=0, total=1, unit="parts", phase="saving")
    with attempt.output_directory() as directory:
        manifest = output_write(
            directory,
            model=model,
            tensors=tensors,
            config=config,
            encoder=encoder,
            summary=summary,
            changes=change_record(parent, anchor, ranks),
        )
    attempt.events.progress(done=1, total=1, unit="parts", phase="saving")
    summary["manifest_sha256"] = manifest["sha256"]
    attempt.events.done(summary=summary)
    return summary


def _ranks_measure(reporter: Reporter, share: float, attempt: Attempt) -> dict[str, MatrixRank]:
    """Measure every matrix for which there is time; {} where the recipe switches ranks off."""
    ranks = reporter.diagnostics.ranks
    if ranks is None:
        return {}

    def progress(done: int, total: int) -> None:
        attempt.events.progress(
            done=done, total=total, unit="matrices", phase="measuring the change"
        )

    return ranks.measure_all(
        seconds=max(RANK_SECONDS_MIN, share * reporter.totals.seconds),
        stop=lambda: attempt.stop.requested,
        progress=progress,
        agree=reporter.holding.agree,
    )


def _ranks_summary(ranks: ChangeRanks | None, measured: dict[str, MatrixRank]) -> dict[str, Any]:
    entropy, energy = ranks.mean(measured) if ranks else (None, None)
    return {
        "entropy_rank": entropy,
        "rank_90": energy,
        "rank_matrices": len(measured),
        "rank_matrices_measured": sum(one.reason is None for one in measured.values()),
    }


def change_record(
    parent: Displacement | None,
    anchor: Displacement | None,
    ranks: Mapping[str, MatrixRank],
) -> dict[str, Any]:
    """Return displacement.json: {"parent" | "pretrained": {"norm", "relative", "tensors"} | None}.

    "tensors" has by name {"norm", "relative", "shape"}; the parent's matrices whose rank was asked
    for also {"entropy_rank", "rank_90", "rank_reason"}, the last saying why the others are None.
    """
    return {"parent": _one_record(parent, ranks), "pretrained": _one_record(anchor, {})}


def _one_record(
    displacement: Displacement | None, ranks: Mapping[str, MatrixRank]
) -> dict[str, Any] | None:
    if displacement is None:
        return None
    tensors: dict[str, dict[str, Any]] = {}
    for name, moved in displacement.tensors.items():
        if not math.isfinite(moved.norm):
            continue
        tensors[name] = {
            "norm": moved.norm,
            "relative": moved.relative,
            "shape": list(moved.shape),
        }
        if name in ranks:
            rank = ranks[name]
            tensors[name] |= {
                "entropy_rank": rank.entropy_rank,
                "rank_90": rank.rank_90,
                "rank_reason": rank.reason,
            }
    return {"norm": displacement.norm, "relative": displacement.relative, "tensors": tensors}
