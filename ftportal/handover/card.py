"""The model card that leaves with a checkpoint: what it learned, what that cost, who judged it.

Markdown behind YAML that the Hugging Face hub reads. Everything comes from selectors, and nothing
depends on the moment it is read, so the same evidence gives the same card to the byte.
"""

from collections.abc import Iterator, Sequence

from ftportal.checkpoints.models import Checkpoint
from ftportal.checkpoints.selectors import lineage
from ftportal.handover.card_evidence import promotion_lines, quantised_lines, review_lines
from ftportal.handover.card_head import front_matter
from ftportal.handover.card_sessions import session_lines
from ftportal.handover.card_verdicts import verdict_lines
from ftportal.handover.markdown import day, inline

_INTERVALS = (
    "Differences stand with their 90 % interval, by which they are judged; “allowed” is the loss "
    "that the rule lets pass."
)


def model_card(checkpoint: Checkpoint) -> str:
    """README.md of a checkpoint."""
    sections: list[tuple[str, Sequence[str]]] = [
        ("What it cost", verdict_lines(checkpoint)),
        ("What it learned", list(session_lines(checkpoint))),
        ("What people said", list(review_lines(checkpoint))),
        ("Promotion", list(promotion_lines(checkpoint))),
        ("Quantised files", list(quantised_lines(checkpoint))),
        ("Where it comes from", list(_origin_lines(checkpoint))),
    ]
    lines = [*front_matter(checkpoint), f"# {inline(checkpoint.name)}", "", *_lead(checkpoint)]
    for title, body in sections:
        if body:
            lines += ["", f"## {title}", ""]
            lines += [_INTERVALS, ""] if title == "What it cost" else []
            lines += body
    return "\n".join(lines) + "\n"


def _lead(checkpoint: Checkpoint) -> Iterator[str]:
    model = checkpoint.language_model
    if checkpoint.is_pretrained:
        yield f"{inline(model.name)} as it was registered, before any training here."
    else:
        count = len(lineage(checkpoint)) - 1
        sessions = "one session" if count == 1 else f"{count} sessions"
        made = day(checkpoint.created_at)
        yield f"{inline(model.name)} after {sessions}, made by ftportal on {made}."
    if model.note:
        yield f"Note on the base model: {inline(model.note)}."


def _origin_lines(checkpoint: Checkpoint) -> Iterator[str]:
    model = checkpoint.language_model
    for number, one in enumerate(lineage(checkpoint), start=1):
        moved = one.displacement_pretrained
        far = "" if not moved else f", {moved:.4g} from the pre-trained weights (L2 norm)"
        this = " — this one" if one == checkpoint else ""
        yield f"{number}. {inline(one.name)}, {day(one.created_at)}{far}{this}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| base model | {inline(model.name)} |"
    yield f"| it came from | {inline(model.source)} |"
    if model.note:
        yield f"| note | {inline(model.note)} |"
    yield f"| licence of the base model | {inline(model.licence) or 'not stated'} |"
    yield f"| parameters | {model.parameter_count:,} |"
    yield f"| SHA-256 over the checkpoint's manifest | `{checkpoint.manifest_hash}` |"
