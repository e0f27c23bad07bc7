"""`make large-table`: what a large model would take on one card and on several, by arithmetic.

    python -m benchmarks.large [--write docs/results/large.md]

Nothing is loaded and nothing measured: the model's shapes are those of its class without numbers,
the memory is that of the run form (`training.ahead.memory`), and so is the speed
(`training.ahead.passes`), at an assumed share of a card's peak.
"""

import argparse
import math
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.command import markdown_table
from training.ahead.decoder import DecoderShape
from training.ahead.fitting import NO, fits
from training.ahead.memory import (
    ACTIVATIONS,
    CACHE,
    GATHERED,
    LOGITS,
    WEIGHTS,
    WORK,
    MemoryEstimate,
    Workload,
    memory_estimate,
)
from training.ahead.passes import MeanExample, tokens_per_second
from training.config import RunConfig, example_config
from training.methods import METHODS
from training.methods.method import GRADIENTS, OPTIMIZER

NAME = "Qwen3.5-27B"
TEXT: dict[str, Any] = {
    "vocab_size": 248320,
    "hidden_size": 5120,
    "intermediate_size": 17408,
    "num_hidden_layers": 64,
    "num_attention_heads": 24,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 48,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "tie_word_embeddings": False,
}
"""The text part; every fourth layer attends, which is the class's own default."""
CARDS = {80: 79, 141: 139}
"""GB that a card has free once CUDA is there, by the size it is sold as."""
COUNTS = (1, 4, 8)
CONTEXTS = (4_096, 32_768, 131_072)
DECISION = 256
EXAMPLES_PER_STEP = 8
PEAK_OPERATIONS = 989e12
"""Dense bfloat16 products a second of an H100 or H200 (SXM), by their maker's data sheet."""
UTILISATION = 0.35
COLUMNS = {
    "weights": (WEIGHTS,),
    "gradients": (GRADIENTS,),
    "optimizer state": (OPTIMIZER,),
    "activations, logits": (ACTIVATIONS, LOGITS),
    "context cache": (CACHE,),
    "gathered layers": (GATHERED,),
    "work space": (WORK,),
}
_GB = 2**30


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model without numbers."""

    shapes: Mapping[str, tuple[int, ...]]
    decoder: DecoderShape

    @property
    def parameters(self) -> int:
        """Numbers of all weights."""
        return sum(map(math.prod, self.shapes.values()))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One method on so many cards, with contexts of one length."""

    method: str
    cards: int
    context: int
    bits: int | None = None
    """In which the base is held."""

    @property
    def name(self) -> str:
        """As the tables call it."""
        name = METHODS[self.method].name
        return name if self.bits is None else f"{name}, base in {self.bits} bit"

    @property
    def config(self) -> RunConfig:
        """The recipe: bfloat16, each card a part where there are several, but of what is held in
        few bits, which is whole on each."""
        sharding = "none" if self.cards == 1 or self.bits else "fsdp2"
        return RunConfig.from_json(
            example_config()
            | {
                "method": {"name": self.method, "base_bits": self.bits},
                "dtype": "bfloat16",
                "examples_per_step": EXAMPLES_PER_STEP,
                "max_example_tokens": self.context + DECISION,
                "ranks": {"processes": self.cards, "sharding": sharding},
                "probes": [],
                "watch": {"watch_every_steps": 0},
            }
        )

    def memory(self, model: Model) -> MemoryEstimate:
        """What each card needs."""
        workload = Workload(
            longest_tokens=self.context + DECISION, longest_decision_tokens=DECISION
        )
        return memory_estimate(
            self.config,
            shapes=model.shapes,
            decoder=model.decoder,
            workload=workload,
            on_gpu=True,
            processes=self.cards,
        )

    def speed(self, model: Model) -> float:
        """Tokens a second of all cards together."""
        example = MeanExample(context_tokens=self.context, decision_tokens=DECISION, decisions=1)
        return tokens_per_second(
            self.config,
            example,
            parameters=model.parameters,
            operations_per_second=self.cards * UTILISATION * PEAK_OPERATIONS,
        )


def model_of_class() -> Model:
    """Build the text model on torch's meta device."""
    import torch
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    config = Qwen3_5TextConfig(**TEXT)
    with torch.device("meta"):
        network = Qwen3_5ForCausalLM(config)
    shapes = {name: tuple(one.shape) for name, one in network.named_parameters()}
    return Model(shapes=shapes, decoder=DecoderShape.from_config(config.to_dict()))


def verdict(needed_bytes: int, card: int) -> str:
    """Whether a card of this size has so much free, in the form's words."""
    return fits(needed_bytes, CARDS[card] * _GB)


def cases(context: int) -> list[Case]:
    """Every method, its base in whatever bits it can be, on every number of cards."""
    return [
        Case(method=method, cards=cards, context=context, bits=bits)
        for method, kind in METHODS.items()
        for bits in (None, *kind.base_bits)
        for cards in COUNTS
    ]


def parts_rows(model: Model) -> list[list[str]]:
    """Every case item by item, with the shortest context."""
    rows = []
    for case in cases(CONTEXTS[0]):
        memory = case.memory(model)
        total = memory.total_bytes
        items = [_gb(sum(map(memory.part_bytes, names))) for names in COLUMNS.values()]
        verdicts = [verdict(total, card) for card in CARDS]
        speed = "–" if verdicts[-1] == NO else _rounded(case.speed(model))
        rows.append([case.name, str(case.cards), *items, f"**{_gb(total)}**", *verdicts, speed])
    return rows


def context_rows(model: Model) -> list[list[str]]:
    """Every case by the length of the context."""
    rows = []
    for of_one in zip(*map(cases, CONTEXTS), strict=True):
        row = [of_one[0].name, str(of_one[0].cards)]
        for case in of_one:
            total = case.memory(model).total_bytes
            verdicts = [verdict(total, card) for card in CARDS]
            speed = "–" if verdicts[-1] == NO else _rounded(case.speed(model))
            row += [_gb(total), " / ".join(verdicts), speed]
        rows.append(row)
    return rows


def attention_share(model: Model, context: int) -> float:
    """What attention's own products would add to a context token's, which are left out."""
    products = 4.0 * model.decoder.queries * context / 2 * model.decoder.attending
    return products / (2.0 * model.parameters)


def _gb(size_bytes: float) -> str:
    return f"{size_bytes / _GB:.1f}"


def _rounded(speed: float) -> str:
    """Two digits: more would be pretence."""
    digits = 2 - len(f"{speed:.0f}")
    return f"{round(speed, digits):,.0f}"


def _filled(page: str) -> str:
    """The page with its paragraphs and items filled to lines of one width; tables stay."""
    return "\n\n".join(_block_filled(block) for block in page.split("\n\n")).rstrip() + "\n"


def _block_filled(block: str) -> str:
    if block.startswith(("|", "#")):
        return block
    items = re.split(r"\n(?=- )", block)
    filled = []
    for item in items:
        indent = "  " if item.startswith("- ") else ""
        words = " ".join(item.split())
        filled.append(textwrap.fill(words, 100, subsequent_indent=indent, break_on_hyphens=False))
    return "\n".join(filled)


def report(model: Model) -> str:
    """The whole page."""
    sizes = [f"{card} GB" for card in CARDS]
    heads = ["method", "cards", *COLUMNS, "each card", *(f"fits {one}" for one in sizes)]
    both = " / ".join(map(str, CARDS))
    lengths = [
        head for context in CONTEXTS for head in (f"{context:,}: GB", f"fits {both} GB", "tokens/s")
    ]
    free = " and ".join(f"{gb} GB of a card sold with {card}" for card, gb in CARDS.items())
    shares = ", ".join(
        f"{attention_share(model, context):.0%} at {context:,} tokens" for context in CONTEXTS
    )
    rate = f"{UTILISATION:.0%} of {PEAK_OPERATIONS / 1e12:,.0f} trillion"
    page = f"""# A large model on paper: {NAME}

Made by `make large-table`. **No card was at hand: nothing here was measured on one.** The sizes
come from the same estimate that the run form shows (`training/ahead/memory.py`), which was checked
against real sessions of a model of 135 million parameters on a CPU ([memory.md](memory.md)) and of
two processes that share one of 267 million ([sharding.md](sharding.md)). The speeds are arithmetic.

The model: the text part of {NAME} as its own class builds it without numbers,
{model.parameters / 1e9:.1f} billion parameters, {model.decoder.layers} layers of which
{model.decoder.attending} attend and the others keep a state. The recipe: bfloat16 throughout,
frozen context, {EXAMPLES_PER_STEP} examples a step with one decision of {DECISION} tokens each, no
watch, no defences, each method with its own defaults. On one card it holds everything; on several
each holds a part (`sharding: fsdp2`), but for a base in 8 or 4 bit, which is whole on each.
Sizes are GB of 1024 MB on each card, as on the form; free
are thought to be {free}.

## With contexts of {CONTEXTS[0]:,} tokens, item by item

{markdown_table([*heads, "tokens/s"], parts_rows(model))}

- Gathered layers: what sharing a model needs of it whole for a while. The layer at hand, the next
  one and the message that brings it; the embeddings and the head, which stay until the step is
  done; in the backward their gradients, which are summed in float32. Of this model the embeddings
  and the head alone are {_gb(_outer_bytes(model))} GB.
- Each row is the worst moment of a step. What is not there then counts 0, such as activations
  while gradients are summed.
- A base in 8 or 4 bit: the layers' weights take 8.5 and 4.1 bit a number, scales counted; the
  embeddings, the head and the norms stay in bfloat16. Under work space is the largest weight, which
  is restored for its product. What is merged and judged are the parent's own weights, which are
  read from its files again, one at a time.
- APOLLO's projections are whole on every card; its moments are cut where the weights are.

## By the length of the context

{markdown_table(["method", "cards", *lengths], context_rows(model))}

## What the speeds assume

All cards together, context and decision tokens counted: {rate} products and sums a second, of
which the whole is the data sheet's dense bfloat16 peak of an H100 or H200 (the same for both); 2
operations a parameter for a context token, 6 for a decision token. Left out: the messages between
cards, which sharing needs in every pass and which a slow link makes the larger part; attention's
own products, which would add {shares}; the optimizer's step; what restoring a base of few bits
takes; and that LoRA needs a third less for a decision token.

## What it does not show

What torch's allocator loses to fragments beyond the tenth that is counted; kernels that keep less,
such as those of flash-linear-attention, which are not installed here; how fast sharing is. Try a
run of two steps before you trust a row that fits barely: the estimate may be a fifth off.
"""
    return _filled(page)


def _outer_bytes(model: Model) -> int:
    """The embeddings and the head in bfloat16."""
    outer = [shape for name, shape in model.shapes.items() if "embed" in name or "lm_head" in name]
    return 2 * sum(map(math.prod, outer))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path, help="where the page goes")
    options = parser.parse_args(arguments)
    text = report(model_of_class())
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
