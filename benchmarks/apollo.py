"""`make bench-apollo`: a step of ftportal's APOLLO against the package apollo-torch.

For each case two processes load the same model, take the gradients of the same sentence and then
step in turn, one at a time: ours, theirs, theirs, ours, and so on. A step that draws projections
(the first, then every 200th) is timed by itself. One JSON object a line, then a table; lines
beginning with # are for people. ratio and ratio_memory are theirs by ours: above 1, ours is
better. Memory is the whole process's highest (on a GPU, what torch allocated there).
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "var/models/smollm2-135m-instruct"
PAIRS = 9
CASES: dict[str, dict[str, Any]] = {
    "apollo, rank 256, float32": {"name": "apollo", "dtype": "float32", "must": 1.0},
    "apollo_mini, float32": {"name": "apollo_mini", "dtype": "float32", "must": None},
    "apollo, rank 256, bfloat16": {"name": "apollo", "dtype": "bfloat16", "must": None},
    "apollo_mini, bfloat16": {"name": "apollo_mini", "dtype": "bfloat16", "must": None},
}
TEXT = "The ship sails at dawn, and whoever wants to come along stands at the quay before that. "


def worker(model_path: str, case: str, implementation: str) -> None:
    """Take a step for every line on standard input; write its seconds, at the end the memory."""
    import torch
    import transformers

    from training.config import BatchConfig, MethodConfig, RunConfig
    from training.models import device_choose

    method = MethodConfig(name=CASES[case]["name"], implementation=implementation)
    batch = BatchConfig(key="none", name="none", kind="general", path="none")
    config = RunConfig(model=model_path, batches=(batch,), method=method, learning_rate=1e-6)
    device = device_choose("auto")
    transformers.utils.logging.disable_progress_bar()
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(
        model_path, dtype=getattr(torch, CASES[case]["dtype"])
    )
    model.to(device)
    tokens = transformers.AutoTokenizer.from_pretrained(model_path)(TEXT * 4, return_tensors="pt")
    model(input_ids=tokens.input_ids.to(device), labels=tokens.input_ids.to(device)).loss.backward()
    optimizer = config.method.kind.optimizer(
        model,
        config.method,
        rate=config.learning_rate,
        weight_decay=config.weight_decay,
        seed=config.seed,
    )
    steps = 20 if device.type == "cuda" else 1  # a GPU's step is too short to time alone

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    for line in sys.stdin:
        count = 1 if line.strip() == "draw" else steps
        wait()
        begin = time.perf_counter()
        for _ in range(count):
            optimizer.step()
        wait()
        _say(seconds=(time.perf_counter() - begin) / count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    _say(peak_bytes=peak, state_bytes=_state_bytes(optimizer))


def _state_bytes(optimizer: Any) -> int:
    """Bytes of moments and projections, wherever the two implementations keep them."""
    import torch

    kept = [value for state in optimizer.state.values() for value in state.values()]
    kept += [getattr(value, "ortho_matrix", None) for value in kept]
    kept += [drawn for _, drawn in getattr(optimizer, "_projections", {}).values()]
    return sum(value.nbytes for value in kept if isinstance(value, torch.Tensor))


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


class Worker:
    """A process that steps when it is told to."""

    def __init__(self, model: str, case: str, implementation: str) -> None:
        arguments = ["--model", model, "--worker", case, implementation]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.apollo", *arguments],
            cwd=ROOT,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},  # as the engine sets it
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def step(self, kind: str = "step") -> float:
        """Seconds that one step took."""
        assert self.process.stdin is not None  # noqa: S101  (for the type checker)
        self.process.stdin.write(kind + "\n")
        self.process.stdin.flush()
        return float(self._read()["seconds"])

    def end(self) -> dict[str, Any]:
        """End the process; return its memory."""
        assert self.process.stdin is not None  # noqa: S101  (for the type checker)
        self.process.stdin.close()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None  # noqa: S101  (for the type checker)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A worker ended early; run it by hand with --worker to see why.")
        return json.loads(line)


@contextmanager
def _workers(model: str, case: str) -> Iterator[tuple[Worker, Worker]]:
    pair = Worker(model, case, "ftportal"), Worker(model, case, "apollo-torch")
    try:
        yield pair
    finally:
        for one in pair:
            one.process.kill()
            one.process.wait()


def measure(model: str, case: str, pairs: int) -> dict[str, Any]:
    """Time `pairs` pairs of steps; return the line to print and what the table shows beside."""
    with _workers(model, case) as (ours, theirs):
        draws = [one.step("draw") for one in (ours, theirs)]
        for one in (ours, theirs):
            one.step()
        seconds: list[tuple[float, float]] = []
        for number in range(pairs):
            if number % 2:
                reference, own = theirs.step(), ours.step()
            else:
                own, reference = ours.step(), theirs.step()
            seconds.append((own, reference))
        memory = [one.end() for one in (ours, theirs)]
    ratios = [reference / own for own, reference in seconds]
    return {
        "case": case,
        "baseline": f"apollo-torch {version('apollo-torch')}",
        "ratio": round(statistics.median(ratios), 3),
        "ratio_memory": round(memory[1]["peak_bytes"] / memory[0]["peak_bytes"], 3),
        "must": CASES[case]["must"],
        "pairs": pairs,
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "seconds": [round(statistics.median(side), 4) for side in zip(*seconds, strict=True)],
        "drawing_step_seconds": [round(one, 3) for one in draws],
        "peak_bytes": [one["peak_bytes"] for one in memory],
        "state_bytes": [one["state_bytes"] for one in memory],
    }


def _machine() -> str:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    memory = Path("/proc/meminfo").read_text().split()[1]
    return (
        f"{torch.get_num_threads()} threads, {int(memory) / 2**20:.0f} GiB, {gpu}; "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"transformers {version('transformers')}"
    )


def _table(lines: list[dict[str, Any]]) -> str:
    rows = ["case                         s a step        first step      peak GB         state MB"]
    for line in lines:
        cells = [
            "{:.3f} / {:.3f}".format(*line["seconds"]),
            "{:.2f} / {:.2f}".format(*line["drawing_step_seconds"]),
            "{:.2f} / {:.2f}".format(*(size / 1e9 for size in line["peak_bytes"])),
            "{:.0f} / {:.0f}".format(*(size / 1e6 for size in line["state_bytes"])),
        ]
        rows.append(f"{line['case']:<29}" + "".join(f"{cell:<16}" for cell in cells).rstrip())
    return "\n".join(rows)


def main() -> int:
    """Run all cases; 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(MODEL), help="a Hugging Face directory")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of steps a case")
    parser.add_argument("--worker", nargs=2, metavar=("CASE", "IMPLEMENTATION"))
    options = parser.parse_args()
    if not Path(options.model).is_dir():
        parser.error(f"{options.model} is missing: `make run` unpacks it once, or name another")
    if options.worker:
        worker(options.model, *options.worker)
        return 0
    sys.stdout.write(f"# {_machine()}\n")
    lines = []
    for case in CASES:
        lines.append(measure(options.model, case, options.pairs))
        _say(**lines[-1])
    sys.stdout.write(f"# ours / theirs\n{_table(lines)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
