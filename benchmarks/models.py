"""What the engines make of each family of models: a table, each cell by really doing it.

    python -m benchmarks.models [FAMILY ...] [--write docs/results/models.md]

Every family is a tiny random model of its own class in a directory. It is looked at as registration
does, taught with frozen context, taught with LoRA, measured, asked, blended with its parent, and
resumed in mid-session; what fails says why.
"""

import argparse
import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.command import markdown_table
from benchmarks.machine import machine_words
from engine.architectures import architecture_objection
from engine.attempt import attempt_run
from engine.manifest import manifest_check
from engine.modelcheck import model_directory_problems

FAMILIES = {
    "Llama": "llama",
    "SmolLM3": "smollm3",
    "Qwen3": "qwen3",
    "Qwen3-MoE": "qwen3_moe",
    "Qwen3-Next": "qwen3_next",
    "Qwen3.5, text": "qwen3_5",
    "Qwen3.5, as published": "qwen3_5_published",
    "Qwen3.5-MoE, as published": "qwen3_5_moe_published",
    "Gemma 2": "gemma2",
    "Gemma 3, text": "gemma3",
    "Gemma 3, as published": "gemma3_published",
    "Mistral, window": "mistral",
    "Phi-3, Phi-4": "phi3",
    "OLMo 2": "olmo2",
    "OLMo 3": "olmo3",
    "Granite": "granite",
    "Granite 4, hybrid": "granite_hybrid",
    "GPT-OSS": "gpt_oss",
    "GLM-4": "glm4",
    "LFM2": "lfm2",
    "Falcon-H1": "falcon_h1",
    "DeepSeek-V3": "deepseek_v3",
    "GPT-2": "gpt2",
}
"""By the name that people know, the shape of `tests.training.published`."""
REFUSED: dict[str, dict[str, Any]] = {
    "T5": {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
    "BERT": {"model_type": "bert", "architectures": ["BertForMaskedLM"]},
    "Whisper": {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]},
    "Qwen3-VL": {"model_type": "qwen3_vl", "architectures": ["Qwen3VLForConditionalGeneration"]},
    "GPT-OSS, as published": {
        "model_type": "gpt_oss",
        "architectures": ["GptOssForCausalLM"],
        "quantization_config": {"quant_method": "mxfp4"},
    },
    "a class of its own": {
        "model_type": "ours",
        "architectures": ["OurForCausalLM"],
        "auto_map": {"AutoModelForCausalLM": "modeling_ours.OurForCausalLM"},
    },
}
"""Configs that registration refuses, by what people call the model."""
CELLS = (
    *("registered", "frozen", "frozen, batch", "LoRA", "measured", "answered", "blended"),
    "resumed",
)
STEPS = 4
_TEXTS = ["Prose of ships that sail at dawn. " * 4, "A shorter document."]


class TrialError(Exception):
    """What a family was asked for did not come out; the text says what."""


@dataclass
class Trial:
    """One family, tried."""

    title: str
    class_name: str = ""
    cells: dict[str, str] = field(default_factory=dict)
    """By name "yes" or the reason why not."""
    seconds: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether everything was done."""
        return all(self.cells.get(name) == "yes" for name in CELLS)


class Bench:
    """A folder with one family's model and batch, and what is done with them."""

    def __init__(self, folder: Path, shape: str) -> None:
        from tests.training.published import published_write
        from tests.training.toys import batch_ingest, conversation, recipe_of

        self.folder = folder
        self.model = published_write(shape, folder / "model")
        records = [conversation(number, decisions=1 + number % 2) for number in range(8)]
        examples = batch_ingest(folder / "batch", self.model, records)
        self._recipe = recipe_of(self.model, examples) | {"max_steps": STEPS}
        self._runs = 0

    def registered(self) -> str:
        """Look at the directory; return its class."""
        from training.tensors.checking import fit_of

        for problem in model_directory_problems(self.model):
            raise TrialError(f"{problem.where} {problem.message}")
        fit = fit_of(self.model)
        if fit.missing or fit.unexpected:
            raise TrialError(f"{(*fit.missing, *fit.unexpected)[0]} does not belong to its class")
        return fit.class_name

    def run(self, *options: str, **changes: Any) -> Path:
        """Teach it; return the attempt's directory, whose output was looked at."""
        from training.__main__ import main

        directory = self._directory(self._recipe | changes)
        number = options[options.index("--attempt") + 1] if "--attempt" in options else "0"
        attempt = directory / "attempts" / number
        _ended_well(main([str(directory), *options]), attempt)
        self._output_check(attempt / "output")
        return attempt

    def _output_check(self, output: Path) -> None:
        """Every tensor is there, and the files differ by what the session says that moved."""
        manifest_check(output)
        summary = json.loads((output / "recipe.json").read_bytes())["summary"]
        before, after = _tensors(self.model), _tensors(output)
        if before.keys() != after.keys():
            raise TrialError("its checkpoint has other tensors")
        moved = math.sqrt(
            sum(
                (after[n] - one.float()).double().square().sum().item() for n, one in before.items()
            )
        )
        if not moved or not math.isclose(moved, summary["displacement"] or 0.0, rel_tol=1e-4):
            said = summary["displacement"]
            raise TrialError(f"the files differ by {moved:.4g}, the session says {said}")

    def measured(self, model: Path) -> None:
        """Measure a checkpoint as a suite does."""
        from evaluation.engine import work

        texts = self.folder / "held-out.jsonl"
        lines = [{"text": t, "sha256": hashlib.sha256(t.encode()).hexdigest()} for t in _TEXTS]
        texts.write_text("".join(json.dumps(line) + "\n" for line in lines))
        held_out = {"key": "k", "name": "Prose", "domain": "prose", "path": str(texts)}
        config = {
            "action": "measure",
            "model": str(model),
            "benchmarks": [{"name": "local_arithmetic", "source": "local", "limit": 2}],
            "held_out": [held_out | {"max_tokens": 200}],
            "window_tokens": 64,
            "stride_tokens": 32,
            "device": "cpu",
            "threads": 1,
        }
        directory = self._directory(config)
        _ended_well(attempt_run("evaluation", work, [str(directory)]), directory / "attempts/0")

    def answered(self, model: Path) -> None:
        """Have a checkpoint answer two prompts side by side, and one by one: the same must come."""
        from evaluation.config import GenerateConfig, PromptConfig
        from evaluation.generation import answers_generate
        from evaluation.loading import model_load

        prompts = tuple(
            PromptConfig(sha256=text, messages=({"role": "user", "content": text},))
            for text in ("Hi", "A much longer question, about ships?")
        )
        config = GenerateConfig(model=str(model), prompts=prompts, device="cpu", max_new_tokens=8)
        loaded, answers = model_load(config), []
        for size in (1, 2):
            made = answers_generate(
                config,
                loaded,
                size,
                on_token=lambda share: None,
                on_warning=lambda message: None,
            )
            answers.append([one["text"] for one in made])
        if answers[0] != answers[1]:
            raise TrialError("prompts side by side get other answers than one by one")

    def blended(self, candidate: Path) -> None:
        """Blend a checkpoint with the parent."""
        from training.blend.__main__ import main

        ends = {"parent": str(self.model), "candidate": str(candidate), "alpha": 0.5}
        directory = self._directory(ends)
        _ended_well(main([str(directory)]), directory / "attempts/0")
        from training.tensors.checking import checkpoint_check

        checkpoint_check(directory / "attempts/0/output", self.model)

    def resumed(self) -> None:
        """Go on from the middle of a session; the same bits must come out."""
        whole = self.run(save_every_steps=STEPS // 2)
        state = next(one["path"] for one in _events(whole) if one["event"] == "saved")
        again = self.run(*("--attempt", "1", "--resume", str(state)), save_every_steps=STEPS // 2)
        for name in ("model.safetensors", "config.json"):
            if (whole / "output" / name).read_bytes() != (again / "output" / name).read_bytes():
                raise TrialError("the resumed session made other weights")

    def _directory(self, config: dict[str, Any]) -> Path:
        self._runs += 1
        directory = self.folder / f"job{self._runs}"
        directory.mkdir()
        (directory / "config.json").write_text(json.dumps(config))
        return directory


def _events(attempt: Path) -> list[dict[str, Any]]:
    lines = (attempt / "events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def _tensors(directory: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    files = sorted(directory.glob("*.safetensors"))
    return {name: one for file in files for name, one in load_file(file).items()}


def _ended_well(exit_code: int, attempt: Path) -> None:
    if exit_code != 0:
        last = _events(attempt)[-1]
        raise TrialError(f"{last['where']}: {last['message']}. {last['cure']}")


def trial_make(title: str, shape: str, folder: Path) -> Trial:
    """Try everything with one family."""
    trial, started = Trial(title), time.monotonic()
    bench = Bench(folder, shape)

    def cell(name: str, work: Callable[[], Any]) -> Any:
        try:
            result = work()
        except TrialError as error:
            trial.cells[name] = str(error)
            return None
        trial.cells[name] = "yes"
        return result

    trial.class_name = cell("registered", bench.registered) or ""
    together = {"examples_per_step": 3, "context": {"conversations_at_once": 3}}
    frozen = cell("frozen", lambda: bench.run(context={"conversations_at_once": 1}))
    cell("frozen, batch", lambda: bench.run(**together))
    cell("LoRA", lambda: bench.run(method={"name": "lora"}))
    output = frozen / "output" if frozen else bench.model
    cell("measured", lambda: bench.measured(output))
    cell("answered", lambda: bench.answered(output))
    cell("blended", lambda: bench.blended(output))
    cell("resumed", bench.resumed)
    trial.seconds = time.monotonic() - started
    return trial


def refusal(config: dict[str, Any]) -> str:
    """Why registration refuses a model with this config.json."""
    objection = architecture_objection(config)
    return objection.message if objection else "not refused"


def report(trials: Sequence[Trial]) -> str:
    """The table as docs/results/models.md has it."""
    head = ["family", "class", *CELLS, "seconds"]
    rows = [
        [one.title, f"`{one.class_name}`", *(_mark(one, n) for n in CELLS), f"{one.seconds:.1f}"]
        for one in trials
    ]
    failed = [
        f"- {one.title}, {name}: {one.cells[name]}"
        for one in trials
        for name in CELLS
        if one.cells[name] != "yes"
    ]
    refused = [[title, refusal(config)] for title, config in REFUSED.items()]
    return f"""# What the engines make of each family of models

Made by `make models-table`, each cell by really doing it with a tiny random model of the family's
own class, in float32 on the CPU. {machine_words("peft")}.

- registered: its directory is taken, and its own class finds every tensor it needs and no other
- frozen: four steps with frozen context, conversation by conversation; batch: three side by side.
  Before its first step a session compares its gradients with those of plain forwards without a
  cache. Afterwards the checkpoint has the tensors of the model that it was made from, by the same
  names, loads by the same class, and its files differ by what the session says that moved
- LoRA: the same with an adapter on every layer and expert, merged into the weights
- measured: perplexity and a benchmark of its checkpoint; answered: two prompts side by side get
  the answers that they get one by one
- blended: half-way to its parent; resumed: from the middle of a session, to the same bits

{markdown_table(head, rows)}

{chr(10).join(failed) or "Nothing failed."}

## Refused when it is registered

{markdown_table(["model", "the reason that is told"], refused)}
"""


def _mark(trial: Trial, name: str) -> str:
    return "yes" if trial.cells[name] == "yes" else "**no**"


def main() -> int:
    """Print a line of JSON a family as it is done; 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", help=f"of {', '.join(FAMILIES.values())}")
    parser.add_argument("--write", type=Path, help="where the table goes")
    options = parser.parse_args()
    trials = []
    for title, shape in FAMILIES.items():
        if options.families and shape not in options.families:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            trials.append(trial_make(title, shape, Path(scratch)))
        line = {"family": title, **trials[-1].cells, "seconds": round(trials[-1].seconds, 1)}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    if options.write:
        options.write.write_text(report(trials), encoding="utf-8")
    return 0 if all(one.is_well for one in trials) else 1


if __name__ == "__main__":
    sys.exit(main())
