"""Methods of training: every file of this package with a METHOD is one. No torch at import.

Adding a method is adding a file: recipes, the portal's form, forecast, memory estimate, warnings,
remedies and model card read everything from its METHOD.
"""

import importlib
import pkgutil

from engine.checks import ConfigError
from training.methods.method import Method

METHODS: dict[str, Method] = {}
"""By key, in the order of the form."""


def methods_find() -> None:
    """Fill METHODS from the files of this package."""
    modules = [
        importlib.import_module(f"{__name__}.{one.name}") for one in pkgutil.iter_modules(__path__)
    ]
    methods: list[Method] = [m.METHOD for m in modules if hasattr(m, "METHOD")]
    METHODS.clear()
    METHODS.update({one.key: one for one in sorted(methods, key=lambda m: (m.order, m.key))})


def method_of(key: object) -> Method:
    """Return the method of this key; ConfigError names those that there are."""
    if not isinstance(key, str) or key not in METHODS:
        cure = f"Use one of: {', '.join(METHODS)}."
        raise ConfigError("method.name", f"{key!r} is not known", cure)
    return METHODS[key]


methods_find()
