"""What a benchmark says of the machine that it ran on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from engine.process import environment_set

environment_set()  # before torch is imported, as the engines do

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "var/models/smollm2-135m-instruct"


def machine_words(*packages: str) -> str:
    """Processor, threads, memory, GPU, load and versions, in one line."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    memory = Path("/proc/meminfo").read_text().split()[1]
    names = ("torch", "transformers", *packages)
    return (
        f"{_processor()}, {torch.get_num_threads()} threads, {int(memory) / 2**20:.0f} GiB, {gpu}, "
        f"load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in names)
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
