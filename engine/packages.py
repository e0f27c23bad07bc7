"""Packages that transformers and PEFT load wherever they are installed, and that few sessions use.

transformers' losses for object detection load scipy, and PEFT loads bitsandbytes, which brings
torch's compiler: a third of the time until an engine begins.
"""

import sys

UNUSED = ("bitsandbytes", "scipy")


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
