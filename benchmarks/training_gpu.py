"""For `make bench-train` on a GPU: a model of a 1B shape with random weights, the card's rate."""

import shutil
import time
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

_SIDE = 8192
_REPEATS = 50
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def matrix_rate() -> float:
    """Measure the operations a second of bfloat16 products of 8192 x 8192 matrices on this card.

    Measured rather than looked up, so a share of it compares with what the card can do here.
    """
    a, b = (torch.randn(_SIDE, _SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(_REPEATS):
        a @ b
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - begun) / _REPEATS
    del a, b
    torch.cuda.empty_cache()
    return 2 * _SIDE**3 / seconds


def random_model(tokenizer_of: Path, target: Path) -> Path:
    """Write a Llama of about 1.1 billion random parameters in bfloat16, once; return its place.

    The tokenizer is the small model's, whose vocabulary the shape shares.
    """
    if target.is_dir():
        return target
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    small = LlamaConfig.from_pretrained(tokenizer_of)
    config = LlamaConfig(
        vocab_size=small.vocab_size,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=small.bos_token_id,
        eos_token_id=small.eos_token_id,
        pad_token_id=small.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).bfloat16().save_pretrained(partial)
    for name in _TOKENIZER_FILES:
        if (tokenizer_of / name).is_file():
            shutil.copyfile(tokenizer_of / name, partial / name)
    partial.replace(target)
    return target
