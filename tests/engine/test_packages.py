"""What an engine's process does not load, seen in a process of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from engine.packages import package_show, packages_hide
packages_hide()
import training.run
import peft
loaded = {name.partition(".")[0] for name, module in sys.modules.items() if module is not None}
print(*sorted(loaded & {"datasets", "pandas", "pyarrow", "scipy", "bitsandbytes"}))
try:
    import bitsandbytes
except ImportError:
    print("missing")
package_show("bitsandbytes")
from apollo_torch import APOLLOAdamW
package_show("bitsandbytes")  # of what was not hidden, or is shown already, nothing is taken back
print("bitsandbytes" in sys.modules, sys.modules["scipy"])
"""


@pytest.mark.slow
def test_hidden_packages_are_not_loaded_and_the_reference_gets_what_it_needs() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert told.stdout.splitlines() == ["", "missing", "True None"], told.stderr[-2000:]


def test_a_package_that_is_loaded_already_stays() -> None:
    from engine.packages import packages_hide

    packages_hide(("json",))
    import json

    assert json.loads("1") == 1
