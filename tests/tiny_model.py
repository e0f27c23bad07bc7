"""A tiny Llama with random weights and a byte-level tokenizer, written as a plain HF directory.

Every test that needs a model uses this one: it goes through the same code as a real model, loads in
a blink and knows nothing. The vocabulary is the 256 bytes and four special tokens.
"""

import json
from pathlib import Path

SPECIAL_TOKENS = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")
PAD_ID, START_ID, END_ID, TEXT_END_ID = range(256, 260)
VOCABULARY_SIZE = 260

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _byte_alphabet() -> dict[str, int]:
    """Return GPT-2's printable stand-in for every byte, mapped to the byte's value."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = [byte for byte in range(256) if byte not in kept]
    stand_ins = {chr(byte): byte for byte in kept}
    stand_ins.update({chr(256 + index): byte for index, byte in enumerate(moved)})
    return stand_ins


def tiny_tokenizer_write(directory: Path | str) -> Path:
    """Write tokenizer.json, tokenizer_config.json and a ChatML template; needs no torch."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE(vocab=_byte_alphabet(), merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "chat_template": CHAT_TEMPLATE,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    return directory


def tiny_model_write(
    directory: Path | str,
    seed: int = 0,
    *,
    hidden_size: int = 32,
    layers: int = 2,
    max_position_embeddings: int = 2048,
    tied: bool = True,
) -> Path:
    """Write a random Llama (about 27,000 parameters, float32 safetensors) and its tokenizer.

    The same seed gives the same weights. Returns the directory.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    directory = tiny_tokenizer_write(directory)
    config = LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_position_embeddings,
        bos_token_id=START_ID,
        eos_token_id=END_ID,
        pad_token_id=PAD_ID,
        tie_word_embeddings=tied,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(directory)
    return directory
