"""Packages that transformers and PEFT load wherever they are installed, and that no session uses.

transformers' Trainer loads datasets, which brings pandas and pyarrow, and its losses for object
detection load scipy; PEFT loads bitsandbytes, and that torch's compiler. Together they are 170 MiB
and a third of the time until an engine begins.
"""

import sys

UNUSED = ("datasets", "bitsandbytes", "scipy")


def packages_hide(names: tuple[str, ...] = UNUSED) -> None:
    """Have this process find packages missing that it has not loaded yet.

    Only where a process begins, before anything imports transformers: it looks once.
    """
    for name in names:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # import then raises


def package_show(name: str) -> None:
    """Take back what `packages_hide` did to one package."""
    if sys.modules.get(name, sys) is None:
        del sys.modules[name]
