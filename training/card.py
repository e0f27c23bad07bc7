"""The model card of a run's output: how it was made, complete and in words."""

from pathlib import Path
from typing import Any

from engine.commented import field_comments
from training import config as settings
from training.config import GROUPS, RunConfig

_TOLD_APART = ("model", "anchor_model", "batches", "probes", "device", "threads")
"""Fields of the config that the table of settings leaves out: places, and what has its own."""


def model_card(config: RunConfig, summary: dict[str, Any]) -> str:
    """Return README.md. What was learnt and what is not known yet stand before the settings."""
    batches = "\n".join(
        f"| {_cell(batch.name)} | {batch.kind} | {batch.weight:g} |" for batch in config.batches
    )
    method, moved = config.method.kind.card_words(config.method), _number(summary["displacement"])
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [ftportal, fine-tuned]
---

# Fine-tuned from {_cell(Path(config.model).name)}

Made by ftportal with {method}, in {summary["steps"]:,} steps over {summary["examples"]:,} examples:
{summary["decision_tokens"]:,} decision tokens were learnt,
{summary["context_tokens"]:,} context tokens were read.
{_context_words(config)}

**What it has forgotten is not known here.** This card was written when training ended; the
evaluation that compares the model with its parent comes afterwards.

## What it learnt from

| batch | kind | weight |
|---|---|---|
{batches}

## What changed

| measured | value |
|---|---|
| displacement from the parent, L2 | {moved} |
| of the parent's norm | {_number(summary["displacement_relative"])} |
| displacement from the pre-trained model, L2 | {_number(summary["displacement_pretrained"])} |
| entropy rank of the change, mean{_measured(summary)} | {_number(summary.get("entropy_rank"))} |
| directions that hold 90 % of the change, mean | {_number(summary.get("rank_90"))} |
| last loss, nats a decision token | {_losses(config, summary)} |

Tensor by tensor in displacement.json.

## The recipe

| setting | value | meaning |
|---|---|---|
{_settings(config)}

Machine-readable, with the versions of every package, in recipe.json. The SHA-256 of every file
stands in manifest.json.
"""


def _context_words(config: RunConfig) -> str:
    if not config.context_frozen:
        return "Context had gradient too (label masking)."
    window = config.context.grad_window
    last = f" but for the last {window:,} tokens before a decision" if window else ""
    return f"Context was frozen: it ran without gradient{last}."


def _settings(config: RunConfig) -> str:
    """A row for every setting, groups taken apart, in the order of the config."""
    rows = []
    record, comments = config.to_json(), field_comments(RunConfig, settings)
    for name, value in record.items():
        if name in GROUPS:
            meanings = field_comments(GROUPS[name], settings)
            rows += [(f"{name}.{key}", one, meanings.get(key, "")) for key, one in value.items()]
        elif name not in _TOLD_APART:
            rows.append((name, value, comments.get(name, "")))
    return "\n".join(
        f"| {name} | {_cell(value)} | {_cell(meaning)} |" for name, value, meaning in rows
    )


def _measured(summary: dict[str, Any]) -> str:
    """Of how many matrices the rank was measured; "" where of none."""
    measured, every = summary.get("rank_matrices_measured"), summary.get("rank_matrices")
    return f" ({measured:,} of {every:,} matrices measured)" if measured and every else ""


def _losses(config: RunConfig, summary: dict[str, Any]) -> str:
    names = {batch.key: batch.name for batch in config.batches}
    losses = [
        f"{_cell(names.get(key, key))} {loss:.4g}" for key, loss in summary["loss_nats"].items()
    ]
    return ", ".join(losses) or _number(None)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"


def _cell(value: Any) -> str:
    """A value as one cell of a table; what people typed cannot end the cell or make markup."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{sign}" if sign in "\\|`*[]" else sign for sign in text)
