"""`make bench-long`: what one context-frozen step takes with contexts of 2,048 to 32,768 tokens.

    python -m benchmarks.long_context [--write docs/results/long.md] [--tokens 2048 8192 32768]

Every case is a process of its own with random weights on the processor: one conversation, whose
last 32 tokens are a decision. `added` is what the step added to the most memory that was resident
at once: context, decision and backward. One JSON object a line, then a table.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.children import child_run
from benchmarks.command import markdown_table
from benchmarks.machine import machine_words

TOKENS = (2048, 8192, 32768)
DECISION_TOKENS = 32
SMOLLM2: dict[str, Any] = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 4,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "tie_word_embeddings": True,
}
"""The widths of SmolLM2-135M and 4 of its 30 layers."""
CASES = {
    "llama": "tiny, full attention",
    "mistral": "tiny, a window in every layer",
    "gemma3": "tiny, a window in every second layer",
    "qwen3_5": "tiny, delta rule and full attention",
    "smollm2": "SmolLM2's widths, 4 layers",
}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=list(TOKENS))
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--write", type=Path, help="also write the page of results")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        _say(json.dumps(measured(options.one[0], int(options.one[1]))))
        return
    results = []
    with tempfile.TemporaryDirectory() as logs:
        for case in options.cases:
            for tokens in options.tokens:
                arguments = ["-m", "benchmarks.long_context", "--one", case, str(tokens)]
                child = child_run(arguments, Path(logs) / "log")
                result = json.loads(child.output) | {"peak_bytes": child.peak_bytes}
                results.append(result)
                _say(json.dumps(result))
    table = table_of(results)
    _say(table)
    if options.write:
        options.write.write_text(page(table))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def measured(case: str, tokens: int) -> dict[str, Any]:
    """One step of one case: {"case", "tokens", "seconds", "added_bytes"}."""
    import torch

    from corpus.encoded import EncodedExample, Segment
    from training.frozen.streaming import frozen_losses

    model = _model(case, tokens + DECISION_TOKENS)
    end = tokens + DECISION_TOKENS
    decision = Segment(start=tokens, end=end, is_decision=True)
    example = EncodedExample(token_ids=[i % 251 for i in range(end)], segments=[decision])
    short = EncodedExample(token_ids=example.token_ids[:64], segments=[_last(64)])
    for warm in (short, example):  # the first brings what is made once
        before_bytes, began = _peak_bytes(), time.monotonic()
        for loss in frozen_losses(model, [warm], torch.device("cpu"), gather=True):
            loss.nll_sum.backward()
    return {
        "case": case,
        "tokens": tokens,
        "seconds": round(time.monotonic() - began, 2),
        "added_bytes": _peak_bytes() - before_bytes,
    }


def _last(end: int) -> Any:
    from corpus.encoded import Segment

    return Segment(start=end - DECISION_TOKENS, end=end, is_decision=True)


def _model(case: str, tokens: int) -> Any:
    if case == "smollm2":
        from transformers import LlamaConfig, LlamaForCausalLM

        return LlamaForCausalLM(LlamaConfig(**SMOLLM2, max_position_embeddings=tokens))
    from tests.training import shapes

    shapes.COMMON["max_position_embeddings"] = tokens
    return shapes.shape(case)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table_of(results: Sequence[dict[str, Any]]) -> str:
    """A row a case and length."""
    rows = [
        [
            CASES[one["case"]],
            f"{one['tokens']:,}",
            f"{one['seconds']:.1f}",
            f"{one['added_bytes'] / 1e6:,.0f}",
            f"{one['peak_bytes'] / 1e6:,.0f}",
        ]
        for one in results
    ]
    return markdown_table(["model", "context, tokens", "seconds", "added, MB", "peak, MB"], rows)


def page(table: str, words: Callable[[], str] = machine_words) -> str:
    """docs/results/long.md."""
    return f"""# Contexts to 32,768 tokens

Made by `make bench-long ARGS="--write docs/results/long.md"`, on {words()}.

One context-frozen step: a context that is read without gradient, and a decision of
{DECISION_TOKENS} tokens that is learnt, float32, random weights, one process a row. *Added* is what
the step added to the most memory that was resident at once, *peak* that of the whole process.
Where the load is above 2 others were at work too: seconds are rough then, memory is not.

{table}

Where torch's own attention needs no mask the context is read in one pass. Models with windows, or
whose class computes plain scores, read it 2,048 tokens at a time, so that masks and scores are of
one part by all tokens and never of all by all. No whole numbers of quadratic size are made in
either: masks are compared from positions, on the model's device, one byte a place, and then put
into the model's number format. `tests/training/frozen/test_long.py` holds that at 8,192 tokens.
"""


if __name__ == "__main__":
    main()
