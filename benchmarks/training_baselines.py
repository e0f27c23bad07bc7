"""One measurement of a baseline: `python -m benchmarks.training_baselines DIR trl|masked`.

TRL's SFTTrainer as it comes, except for what would make the comparison unfair: gradient
checkpointing and bfloat16, which its defaults turn on, are off. masked is transformers' Trainer
over the same labels. Both: AdamW (fused), SDPA, the gradient's norm limited to 1, no logging, no
saving. Writes one JSON object: seconds of every step, losses, peak memory on a GPU.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

from benchmarks.training_cases import IGNORED


class StepTimer(TrainerCallback):
    """Times every step, from its first forward to behind the optimizer."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begun = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        _wait()
        self._begun = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop the clock."""
        _wait()
        self.seconds.append(time.perf_counter() - self._begun)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _settings(job: dict[str, Any], directory: str) -> dict[str, Any]:
    """What both trainers are told."""
    return {
        "output_dir": directory,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": job["examples_per_step"],
        "learning_rate": job["learning_rate"],
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 1,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch_fused",
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "gradient_checkpointing": False,
        "bf16": False,  # no autocast: the weights have the case's dtype
        "use_cpu": not torch.cuda.is_available(),
        "logging_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        "report_to": [],
    }


def _trl(model: Any, job: dict[str, Any], directory: str) -> Any:
    from trl import SFTConfig, SFTTrainer

    rows = [
        {
            "input_ids": row["input_ids"],
            "completion_mask": [int(label != IGNORED) for label in row["labels"]],
        }
        for row in job["rows"]
    ]
    return SFTTrainer(
        model=model,
        args=SFTConfig(**_settings(job, directory), completion_only_loss=True, max_length=None),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
    )


def _masked(model: Any, job: dict[str, Any], directory: str) -> Any:
    return Trainer(
        model=model,
        args=TrainingArguments(**_settings(job, directory)),
        train_dataset=Dataset.from_list(job["rows"]),
        data_collator=default_data_collator,
    )


def _losses_keep(trainer: Any) -> list[float]:
    """Have the trainer note every microbatch's share of its step's loss."""
    losses: list[float] = []
    step = trainer.training_step

    def noting(*arguments: Any, **named: Any) -> Any:
        loss = step(*arguments, **named)
        losses.append(float(loss))
        return loss

    trainer.training_step = noting
    return losses


def main() -> int:
    """Train on DIR/baseline.json."""
    directory, kind = Path(sys.argv[1]), sys.argv[2]
    job = json.loads((directory / "baseline.json").read_bytes())
    torch.set_num_threads(job["threads"])
    model: Any = AutoModelForCausalLM.from_pretrained(
        job["model"], dtype=getattr(torch, job["dtype"]), attn_implementation="sdpa"
    )
    with tempfile.TemporaryDirectory() as scratch:
        trainer = {"trl": _trl, "masked": _masked}[kind](model, job, scratch)
        trainer.remove_callback(PrinterCallback)
        timer, losses = StepTimer(), _losses_keep(trainer)
        trainer.add_callback(timer)
        trainer.train()
    size = job["examples_per_step"]
    answer = {
        "seconds": timer.seconds,
        "losses": [sum(losses[i : i + size]) for i in range(0, len(losses), size)],
        "gpu_peak_bytes": (
            torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
        ),
    }
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
