"""Answers prompts through the model's chat template, greedily or with a seed.

One prompt's answer depends on nothing but the prompt, the model and the seed: every prompt draws
from a generator of its own, and padding is checked to change nothing before it is used.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from corpus.reasoning import MARK_TOKENS, TAGS
from engine.attempt import EngineError
from engine.process import BAD_INPUT
from evaluation.batching import BatchSize, Workload, batch_size
from evaluation.config import GenerateConfig, PromptConfig
from evaluation.loading import Loaded

PADDING_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25}
"""How far a padded prompt's logits may be from its own without padding."""
STREAM_SECONDS = 0.3
"""Answers that somebody watches are shown so often: more is not read, and each is decoded anew."""
_MARK_TOKENS_MAX = 32
"""No family's mark is longer, in any tokenizer."""

OnText = Callable[[str, str], None]
"""Called with a prompt's hash and its answer so far."""


def _unheard(sha256: str, text: str) -> None:
    """For whom the answers are early enough when they are whole."""


def prompts_encode(config: GenerateConfig, loaded: Loaded) -> list[list[int]]:
    """Token ids of every prompt. Raises EngineError (BAD_INPUT) where one cannot be asked."""
    if not loaded.tokenizer.chat_template:
        message, cure = "its tokenizer has no chat template", "Use a model that was taught to chat."
        raise EngineError(BAD_INPUT, "model", message, cure)
    loaded.template_arguments_check(config.template_arguments)
    encoded = []
    for number, prompt in enumerate(config.prompts, start=1):
        try:
            text = loaded.tokenizer.apply_chat_template(
                list(prompt.messages),
                add_generation_prompt=True,
                tokenize=False,
                **config.template_arguments,
            )
        except Exception as error:  # whatever the model's own template raises
            message = f"the chat template refuses prompt {number}: {error}"
            raise EngineError(BAD_INPUT, "prompts", message, "Change its messages.") from error
        ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        limit = loaded.context_limit_tokens
        if limit is not None and len(ids) >= limit:
            message = f"prompt {number} has {len(ids)} tokens, too many for {limit} positions"
            raise EngineError(BAD_INPUT, "prompts", message, "Shorten it.")
        encoded.append(ids)
    return encoded


def answers_batch_size(config: GenerateConfig, loaded: Loaded) -> BatchSize:
    """How many prompts are answered together; raises EngineError as `prompts_encode` and
    `batch_size` do."""
    longest = max(map(len, prompts_encode(config, loaded))) + config.max_new_tokens
    tokens = min(longest, loaded.context_limit_tokens or longest)

    @torch.inference_mode()
    def tried(size: int) -> None:
        """A pass over all tokens with its cache: no step of an answer takes more."""
        inputs = torch.full((size, tokens), loaded.prefix_token_id, device=loaded.device)
        loaded.model(inputs, use_cache=True, logits_to_keep=1)

    return batch_size(config, loaded.device, Workload(generated_tokens=tokens), tried)


def answers_generate(
    config: GenerateConfig,
    loaded: Loaded,
    size: int,
    *,
    on_token: Callable[[float], None],
    on_warning: Callable[[str], None],
    on_text: OnText = _unheard,
) -> list[dict[str, Any]]:
    """Answer all prompts, at most `size` of them together, as {"sha256", "text", "tokens",
    "finish_reason"} in their order.

    `on_token` gets the share of the work that is done after every step; `on_text` gets, where
    `config.stream` is set, a prompt's hash and its answer so far, every STREAM_SECONDS.
    """
    encoded = prompts_encode(config, loaded)
    rooms = _rooms(config, loaded, encoded, on_warning)
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))  # little padding
    size = size if _padding_is_exact(size, loaded, encoded, on_warning) else 1
    answers: dict[int, dict[str, Any]] = {}
    for begin in range(0, len(order), size):
        batch = order[begin : begin + size]

        def on_step(share: float, begin: int = begin, count: int = len(batch)) -> None:
            on_token((begin + share * count) / len(order))

        prompts = [config.prompts[i] for i in batch]
        asked = [(encoded[i], rooms[i]) for i in batch]
        generated = _batch_generate(config, loaded, prompts, asked, on_step, on_text)
        answers.update(zip(batch, generated, strict=True))
    return [answers[i] for i in range(len(encoded))]


def _rooms(
    config: GenerateConfig,
    loaded: Loaded,
    encoded: Sequence[list[int]],
    on_warning: Callable[[str], None],
) -> list[int]:
    """How many tokens each answer may have: as asked for, or what the model's context leaves."""
    limit = loaded.context_limit_tokens
    if limit is None:
        return [config.max_new_tokens] * len(encoded)
    rooms = [min(config.max_new_tokens, limit - len(ids)) for ids in encoded]
    short = [room for room in rooms if room < config.max_new_tokens]
    if short:
        on_warning(
            f"The model's context leaves {len(short)} of {len(rooms)} prompts less than the "
            f"{config.max_new_tokens} tokens asked for, the longest prompt {min(short)}."
        )
    return rooms


@torch.inference_mode()
def _batch_generate(
    config: GenerateConfig,
    loaded: Loaded,
    prompts: Sequence[PromptConfig],
    asked: Sequence[tuple[list[int], int]],
    on_step: Callable[[float], None],
    on_text: OnText,
) -> list[dict[str, Any]]:
    """Answer prompts together; `asked` is each one's token ids and the room for its answer."""
    encoded, rooms = [ids for ids, _ in asked], [room for _, room in asked]
    ends, openings = _end_ids(loaded), [_opening(ids, loaded) for ids in encoded]
    draws = [_generator(config.seed, prompt.sha256) for prompt in prompts]
    tokens: list[list[int]] = [[] for _ in prompts]
    told = [0] * len(prompts)  # of how many tokens each one's text was shown
    open_rows = set(range(len(prompts)))
    inputs, mask = _padded(encoded, loaded)  # both [batch, longest]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=loaded.model.config)
    shown = time.monotonic()
    for step in range(max(rooms)):
        logits = loaded.model(
            input_ids=inputs,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]  # [batch, vocabulary]
        chosen = _chosen(logits, config.temperature, draws)
        for row in sorted(open_rows):
            tokens[row].append(chosen[row])
            if chosen[row] in ends or len(tokens[row]) == rooms[row]:
                open_rows.discard(row)
        on_step((step + 1) / max(rooms))
        if config.stream and time.monotonic() - shown >= STREAM_SECONDS:
            shown = time.monotonic()
            for row, ids in enumerate(tokens):
                if len(ids) > told[row]:
                    told[row] = len(ids)
                    on_text(prompts[row].sha256, openings[row] + _text(ids, loaded))
        if not open_rows:
            break
        inputs = torch.tensor(chosen, device=loaded.device).unsqueeze(1)
        mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=-1)
        positions = positions[:, -1:] + 1
    return [
        _answer(prompt.sha256, ids, ends, loaded, opening)
        for prompt, ids, opening in zip(prompts, tokens, openings, strict=True)
    ]


def _chosen(
    logits: torch.Tensor, temperature: float, draws: Sequence[torch.Generator]
) -> list[int]:
    """The next token of every row of logits (batch, vocabulary); waits for the device once."""
    logits = logits.float()
    if temperature == 0:
        likeliest = torch.stack([logits.argmax(-1), logits.amax(-1).isfinite().long()])
        tokens, sound = likeliest.tolist()
    else:
        logits = logits.cpu()  # the generators are the processor's: the same draws on every device
        sound = logits.amax(-1).isfinite().tolist()
        tokens = []
    if not all(sound):
        message = "answers with values that are not numbers"
        cure = "The checkpoint's weights are broken: choose another one, or train it again."
        raise EngineError(BAD_INPUT, "model", message, cure)
    if temperature == 0:
        return list(tokens)
    shares = (logits / temperature).softmax(-1)
    return [
        int(torch.multinomial(row, 1, generator=draw))
        for row, draw in zip(shares, draws, strict=True)
    ]


def _generator(seed: int, name: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _padded(encoded: Sequence[list[int]], loaded: Loaded) -> tuple[torch.Tensor, torch.Tensor]:
    """Left-padded token ids and their attention mask, both [batch, longest]."""
    longest = max(len(ids) for ids in encoded)
    fill = loaded.prefix_token_id  # masked, so any token will do
    rows = [[fill] * (longest - len(ids)) + ids for ids in encoded]
    mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in encoded]
    return (
        torch.tensor(rows, device=loaded.device),
        torch.tensor(mask, device=loaded.device),
    )


@torch.inference_mode()
def _padding_is_exact(
    size: int,
    loaded: Loaded,
    encoded: Sequence[list[int]],
    on_warning: Callable[[str], None],
) -> bool:
    """Whether the shortest prompt, padded to the longest, has the logits that it has alone."""
    shortest, longest = min(encoded, key=len), max(encoded, key=len)
    if size == 1 or len(shortest) == len(longest):
        return True
    logits = []
    for batch in ([shortest], [shortest, longest]):
        inputs, mask = _padded(batch, loaded)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        out = loaded.model(
            input_ids=inputs, attention_mask=mask, position_ids=positions, logits_to_keep=1
        )
        logits.append(out.logits[0, -1].float())
    apart = float((logits[0] - logits[1]).abs().max())
    if apart <= PADDING_TOLERANCE[loaded.dtype]:
        return True
    on_warning(f"Padding moves this model's logits by {apart:.2g}, so prompts go one by one.")
    return False


def _end_ids(loaded: Loaded) -> set[int]:
    named = loaded.model.generation_config.eos_token_id
    ends = set(named if isinstance(named, list) else [named]) | {loaded.tokenizer.eos_token_id}
    return {token for token in ends if token is not None}


def _answer(
    sha256: str, ids: list[int], ends: set[int], loaded: Loaded, opening: str = ""
) -> dict[str, Any]:
    stopped = bool(ids) and ids[-1] in ends
    return {
        "sha256": sha256,
        "text": opening + _text(ids[:-1] if stopped else ids, loaded),
        "tokens": len(ids),
        "finish_reason": "stop" if stopped else "length",
    }


def _opening(prompt: list[int], loaded: Loaded) -> str:
    """The mark that opens the reasoning where the chat template has written it already: without it
    reasoning that was cut before its end would be taken for the answer."""
    tail: str = loaded.tokenizer.decode(prompt[-_MARK_TOKENS_MAX:]).rstrip()
    return next((f"{mark}\n" for mark, _ in TAGS if tail.endswith(mark)), "")


def _text(ids: list[int], loaded: Loaded) -> str:
    dropped = _special_ids(loaded.tokenizer)
    text: str = loaded.tokenizer.decode([token for token in ids if token not in dropped])
    return text


def _special_ids(tokenizer: Any) -> set[int]:
    """Special tokens that do not belong into a text: all but those that mark reasoning."""
    return {
        number
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special and token.content not in MARK_TOKENS
    }
