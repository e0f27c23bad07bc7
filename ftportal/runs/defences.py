"""What a run does against forgetting, in words."""

from collections.abc import Mapping
from typing import Any

EWC_VARIANT_NAMES = {
    "row": "each output row",
    "diagonal": "each weight",
}


def defence_words(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The defences that a recipe turns on, as rows of label and value."""
    get = (recipe.get("defences") or {}).get
    rows = []
    if get("l2_strength") is not None:
        rows.append(("Pull toward the parent (L2)", f"strength {get('l2_strength'):g}"))
    if get("ewc_strength") is not None:
        variant = str(get("ewc_variant"))
        what = f"{EWC_VARIANT_NAMES.get(variant, variant)}, {get('ewc_examples')} general examples"
        rows.append(("Pull by importance (EWC)", f"strength {get('ewc_strength'):g}, {what}"))
    if get("mask_below_probability") is not None:
        rows.append(("Tokens left out", f"below probability {get('mask_below_probability'):g}"))
    return rows
