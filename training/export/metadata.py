"""What a GGUF says beside its tensors: the computation, the tokenizer, the form of chats."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf

from training.ahead.exports import splitter_name
from training.config.export import ExportConfig
from training.export.mixing import FILE_TYPES


def metadata_write(
    writer: gguf.GGUFWriter, config: ExportConfig, model: Mapping[str, Any], directory: Path
) -> None:
    """Add everything but the tensors; `model` is the decoded config.json."""
    writer.add_type("model")
    writer.add_name(config.name)
    if config.licence:
        writer.add_license(config.licence)
    if config.checkpoint_sha256:
        writer.add_string("ftportal.checkpoint_sha256", config.checkpoint_sha256)
    writer.add_file_type(FILE_TYPES[config.quantisation])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _computation(writer, model)
    _tokenizer(writer, directory, model["vocab_size"])


def _computation(writer: gguf.GGUFWriter, model: Mapping[str, Any]) -> None:
    heads = model["num_attention_heads"]
    head_rows = model.get("head_dim") or model["hidden_size"] // heads
    rope = model.get("rope_parameters") or {}
    writer.add_vocab_size(model["vocab_size"])
    writer.add_context_length(model["max_position_embeddings"])
    writer.add_embedding_length(model["hidden_size"])
    writer.add_block_count(model["num_hidden_layers"])
    writer.add_feed_forward_length(model["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(model.get("num_key_value_heads") or heads)
    writer.add_key_length(head_rows)
    writer.add_value_length(head_rows)
    writer.add_rope_dimension_count(head_rows)
    writer.add_rope_freq_base(rope.get("rope_theta") or model.get("rope_theta") or 10_000.0)
    writer.add_layer_norm_rms_eps(model.get("rms_norm_eps", 1e-6))


def _tokenizer(writer: gguf.GGUFWriter, directory: Path, vocab_size: int) -> None:
    tokenizer = json.loads((directory / "tokenizer.json").read_bytes())
    tokens, kinds = _tokens(tokenizer, vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitter_name(tokenizer))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    special = gguf.SpecialVocab(directory, load_merges=True, n_vocab=vocab_size)
    if "bos" not in special.add_special_token:
        # llama.cpp would put one before every text; this tokenizer does not.
        special.add_special_token["bos"] = False
    special.add_to_gguf(writer, quiet=True)


def _tokens(tokenizer: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Every token's text and kind by its number; numbers without a token get a filler."""
    tokens = [f"[PAD{number}]" for number in range(size)]
    kinds = [int(gguf.TokenType.UNUSED)] * size
    for text, number in tokenizer["model"]["vocab"].items():
        tokens[number], kinds[number] = text, int(gguf.TokenType.NORMAL)
    for one in tokenizer.get("added_tokens", []):
        kind = gguf.TokenType.CONTROL if one["special"] else gguf.TokenType.USER_DEFINED
        tokens[one["id"]], kinds[one["id"]] = one["content"], int(kind)
    return tokens, kinds
