"""Numbers as JSON and a database can hold them: finite, or missing. No torch here."""

import math
from collections.abc import Mapping
from typing import Any


def is_number(value: Any) -> bool:
    """Whether a decoded JSON value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def finite_or_none(value: Any) -> float | None:
    """The number as a float; None where it is missing, NaN or infinite.

    Raises TypeError for what is not a number: that is not missing but wrong.
    """
    if value is None:
        return None
    if not is_number(value):
        raise TypeError(f"{value!r} is not a number")
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond every float
        return None


def finite(value: Any) -> Any:
    """The value with every NaN and infinity in it replaced by None: JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
