"""What people choose and answer about a batch: `Batch.options`, checked where it comes in.

preference     chosen: learn the chosen answers of preference data
columns        {column: target} for a file of no known format
template_arguments  what the chat template is given, where a record says nothing itself
empty_reasoning  learn an answer without reasoning with the empty reasoning before it
outcome_least  {outcome: the least that it must be}
contaminated_kept  why examples that also measure the model are trained on all the same
leave_out      {sha256 of an example: why a person left it out}
redact         cover secrets and personal data
good_only      import what can be used, and leave the problems out
accepted       questions that were answered with yes: keys of `questions_of`
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from corpus.formats.mapping import ColumnMapping
from engine.errors import ProblemError
from engine.numbers import is_number

READING_OPTIONS = (
    *("preference", "columns", "outcome_least", "leave_out", "redact", "template_arguments"),
    "empty_reasoning",
)
"""Options that change what is read: a new value means reading again."""
_CONTENT_OPTIONS = (*READING_OPTIONS, "good_only")


class OptionError(ProblemError):
    """An answer cannot be honoured."""


def variant_of(options: Mapping[str, Any]) -> str:
    """A hash of the options that change a batch's content; empty where none is set."""
    content = {name: options[name] for name in _CONTENT_OPTIONS if options.get(name)}
    if not content:
        return ""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def options_check(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that can be honoured, without those that say nothing; OptionError else."""
    kept = {name: value for name, value in options.items() if value}
    if kept.get("preference") not in (None, "chosen"):
        raise OptionError("Preference data can only be learnt by its chosen answers.", "Choose it.")
    if kept.get("empty_reasoning", True) is not True:
        raise OptionError("Empty reasoning is learnt or it is not.", "Say true, or leave it out.")
    if "columns" in kept:
        try:
            ColumnMapping.from_json(kept["columns"])
        except ValueError as error:
            message = f"The columns cannot be used: {error}."
            raise OptionError(message, "Name a column for the user and the assistant.") from None
    for name, least in kept.get("outcome_least", {}).items():
        if not is_number(least) or not math.isfinite(least):
            raise OptionError(f"The least {name} is not a number.", "Write one, such as 1.")
    return kept
