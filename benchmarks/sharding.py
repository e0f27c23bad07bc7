"""`make bench-sharding`: how much memory each of two processes takes that share a model.

A random Llama with about 1 GB of float32 weights is taught two steps by two processes on the CPU,
with a state saved after the first and the checkpoint at the end. Every process's resident memory
is read from the kernel all the while. On a CPU the host's memory is the device's too, so there are
two limits: until the model is read and checked a process may have 1.3 times its share of the
weights and 1 GB; from start to end 1.3 times its share of weights, gradients and optimizer state,
and 1 GB. One JSON object a line; lines beginning with # are for people.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from engine.events import Metric, read_events
from engine.tensorfiles import parameter_count, tensor_shapes
from training.config import RunConfig

FACTOR, EXTRA_BYTES = 1.3, 1_000_000_000
SHAPE: dict[str, Any] = {
    "vocab_size": 4096,
    "hidden_size": 1536,
    "intermediate_size": 4096,
    "num_hidden_layers": 9,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
CASES: dict[str, dict[str, Any]] = {
    "APOLLO": {"method": {"name": "apollo"}},
    "APOLLO-Mini": {"method": {"name": "apollo_mini"}},
    "AdamW": {"method": {"name": "adamw"}},
    "LoRA": {"method": {"name": "lora"}},
    "APOLLO with L2 and EWC by row": {
        "method": {"name": "apollo"},
        "defences": {"l2_strength": 0.1, "ewc_strength": 1.0, "ewc_examples": 2},
    },
    "APOLLO-Mini, whole copies": {"method": {"name": "apollo_mini"}, "ranks": {"processes": 2}},
}
_SAMPLE_SECONDS = 0.02


def model_write(directory: Path) -> Path:
    """Write the model in files of at most half a gigabyte, one tensor in memory at a time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.tiny_model import END_ID, PAD_ID, START_ID, tiny_tokenizer_write
    from training.tensors.files import Entry, entry, index_write, tensors_write

    tiny_tokenizer_write(directory)
    ids: dict[str, Any] = {"bos_token_id": START_ID, "eos_token_id": END_ID, "pad_token_id": PAD_ID}
    config = LlamaConfig(**SHAPE, **ids, architectures=["LlamaForCausalLM"], dtype="float32")
    config.save_pretrained(directory)
    with torch.device("meta"):
        empty = LlamaForCausalLM(config).state_dict()
    torch.manual_seed(0)

    def read(name: str) -> torch.Tensor:
        shape = empty[name].shape
        return torch.ones(shape) if len(shape) == 1 else torch.randn(shape) * 0.02

    names, files = list(empty), dict[str, list[Entry]]()
    for number in range(2):
        file = f"model-{number + 1:05d}-of-00002.safetensors"
        tensors = {name: empty[name] for name in names[number::2]}
        tensors_write(directory / file, tensors, read)
        files[file] = [entry(name, one) for name, one in tensors.items()]
    index_write(directory, files)
    return directory


class Watcher(threading.Thread):
    """Reads the resident memory of a process's children until it ends."""

    def __init__(self, process: subprocess.Popen, events: Path) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._events = events
        self.loading_bytes = self.peak_bytes = 0
        """The most that one child had until the model was read and checked, and in all."""

    def run(self) -> None:
        """Read until the process has ended."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        loaded = False
        while self._process.poll() is None:
            loaded = loaded or self._is_loaded()
            for child in _words(children):
                peak = _high_water_bytes(child)
                self.peak_bytes = max(self.peak_bytes, peak)
                if not loaded:
                    self.loading_bytes = max(self.loading_bytes, peak)
            time.sleep(_SAMPLE_SECONDS)

    def _is_loaded(self) -> bool:
        """Whether the model has been read and checked: three of four parts of loading are done."""
        return self._events.is_file() and b'"done": 3, "total": 4' in self._events.read_bytes()


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _high_water_bytes(process: str) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def measure(directory: Path, recipe: dict[str, Any]) -> dict[str, Any]:
    """Run one session; return what its processes took."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(recipe))
    events = directory / "attempts/0/events.jsonl"
    started = time.monotonic()
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "training", str(directory)], cwd=ROOT, stderr=log, stdout=log
        )
        watcher = Watcher(process, events)
        watcher.start()
        process.wait()
    watcher.join()
    if process.returncode:
        raise SystemExit((directory / "log").read_text()[-2000:])
    metrics = [one for one in read_events(events)[0] if isinstance(one, Metric)]
    return {
        "loading_bytes": watcher.loading_bytes,
        "peak_bytes": watcher.peak_bytes,
        "seconds": time.monotonic() - started,
        "losses": [one.values["loss_nats"] for one in metrics if "loss_nats" in one.values],
    }


def shares(config: RunConfig, processes: int) -> tuple[float, float]:
    """Return a process's share in bytes: of the weights, and of all that training holds."""
    shapes = tensor_shapes(config.model)
    weights = 4 * parameter_count(shapes)
    kind, method = config.method.kind, config.method
    trained = kind.trained_bytes(method, shapes, 4)
    penalty = weights if config.defences.has_penalty else 0
    adapter = trained if kind.is_adapter else 0
    held = weights + adapter + trained + kind.optimizer_bytes(method, shapes, 4) + penalty
    return weights / processes, held / processes


def main() -> None:
    """Measure every case, or those that are named."""
    from tests.training.toys import batch_ingest, conversation, recipe_of

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list(CASES))
    parser.add_argument("--folder", type=Path, help="where 5 GB may lie for a while")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-sharding-", dir=arguments.folder) as folder:
        root = Path(folder)
        model = model_write(root / "model")
        records = [conversation(number, decisions=1) for number in range(6)]
        base = recipe_of(model, batch_ingest(root / "batch", model, records))
        base |= {"anchor_model": None, "learning_rate": 1e-5, "examples_per_step": 2}
        base |= {"max_steps": 2, "save_every_steps": 1, "watch": {"watch_every_steps": 0}}
        base |= {"ranks": {"processes": 2, "sharding": "fsdp2"}}
        for name in arguments.only or CASES:
            recipe = base | CASES[name]
            result = {"case": name, **measure(root / "run", recipe)}
            config = RunConfig.from_json(recipe)
            weights, held = shares(config, 2 if config.ranks.sharding != "none" else 1)
            result |= {"weights_share_bytes": weights, "held_share_bytes": held}
            result["loading_limit_bytes"] = FACTOR * weights + EXTRA_BYTES
            result["limit_bytes"] = FACTOR * held + EXTRA_BYTES
            _say(json.dumps(result))
            loading, peak = result["loading_bytes"], result["peak_bytes"]
            limits = result["loading_limit_bytes"], result["limit_bytes"]
            _say(
                f"# {name}: {loading / 1e9:.2f} of {limits[0] / 1e9:.2f} GB until it is read "
                f"and checked, {peak / 1e9:.2f} of {limits[1] / 1e9:.2f} GB in all"
            )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
