"""One training run from its recipe to its output directory."""

import time
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import nn

from corpus.conversations import ChatEncoder
from corpus.encoded import EncodedExample
from engine.attempt import Attempt, is_out_of_memory
from engine.checks import ConfigError
from engine.modelcheck import directory_check
from engine.process import Heap
from engine.products import linear_layers_prepare
from engine.states import state_check
from engine.tensorfiles import tensor_shapes
from training.ahead.warnings import RecipeWarning, data_warnings, recipe_warnings
from training.config import RunConfig
from training.defences.penalties import penalty_prepare
from training.defences.probe import probes_build
from training.defences.unlikely import curriculum_reduce
from training.defences.watch import Watch
from training.finishing import session_finish
from training.frozen.parity import Parity, parity_check
from training.frozen.reader import base_model
from training.loop import Session, train
from training.measures.meter import DisplacementMeter
from training.measures.reporting import Reporter
from training.models import (
    attention_prepare,
    device_choose,
    embedding_gradient_by_row,
    model_load,
)
from training.preflight import Preflight
from training.quantised.base import base_quantise, machine_check
from training.ranks.group import ALONE, Ranks
from training.ranks.sharding import Copies, Holding, Shards
from training.samples import Curriculum, curriculum_build
from training.tensors.adapting import unadapted_parts
from training.tensors.checking import model_without_weights
from training.tensors.mapping import TensorMap
from training.tensors.reading import as_if_there, weights_read


def run(config: RunConfig, attempt: Attempt, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Train as the recipe says, write attempts/<N>/output and return the done event's summary.

    With several ranks all of them call this; the first one writes, the others return nothing.

    Raises ConfigError for a wrong recipe, model, batch or state; EngineError where the run
    diverges or memory runs out; StoppedError after a state was saved on request.
    """
    preflight = Preflight(config)
    try:
        return _run(config, attempt, ranks, preflight)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise preflight.failure() from error


def _run(config: RunConfig, attempt: Attempt, ranks: Ranks, preflight: Preflight) -> dict[str, Any]:
    transformers.utils.logging.disable_progress_bar()
    _check(config, attempt)
    device = device_choose(config.device)
    _threads_set(config, ranks, device)
    attention_prepare(device)
    progress = _Progress(attempt, total=4)
    Heap().keep_small()
    encoder = _encoder(config)
    sharded = _is_sharded(config, attempt, ranks)
    if sharded or config.method.base_bits is not None:
        model = model_without_weights(config.model, getattr(torch, config.dtype))
    else:
        model = model_load(config)
    tensors = TensorMap.of(model, config.model)
    progress.next()
    curriculum = _curriculum(config, encoder, model, attempt)
    config.steps_check(curriculum.step_count)
    shapes = tensor_shapes(config.model)
    config.shapes_check(shapes)
    count = len(curriculum.samples)
    _warn(data_warnings(config, example_count=count, tensor_shapes=shapes), attempt)
    preflight.check(curriculum.samples, device, attempt, processes=ranks.count)
    progress.next()
    model = _model_prepare(config, model)
    if config.method.kind.is_adapter and (left := unadapted_parts(model, tensors)):
        message = f"these get no adapter and stay as they are: {', '.join(left)}"
        attempt.events.warning(where="method.name", message=message)
    holding = _hold(config, model, tensors, attempt, device, ranks, sharded=sharded)
    can_pad, can_gather = _streaming_check(config, holding, curriculum, attempt, device)
    Heap().trim()  # of what imports and the check have left
    progress.next()
    meter = DisplacementMeter.of_run(
        config, holding.at_rest(), tensors, attempt, follows=not ranks.first
    )
    progress.next()
    began = time.monotonic()
    curriculum, left_out = curriculum_reduce(
        config, holding.model, curriculum, attempt, device, holding
    )
    config.steps_check(curriculum.step_count)  # fewer, where examples were left out
    penalty = penalty_prepare(config, holding, curriculum.pools, attempt, device)
    reporter = Reporter(
        device=device,
        config=config,
        curriculum=curriculum,
        attempt=attempt,
        displacement=meter,
        watch=_watch(config, encoder, holding, curriculum, device),
        holding=holding,
    )
    reporter.notes |= preflight.notes()
    if left_out is not None:
        reporter.notes["left_out"] = left_out.to_json()
    session = Session(
        config=config,
        curriculum=curriculum,
        attempt=attempt,
        holding=holding,
        device=device,
        reporter=reporter,
        penalty=penalty,
        can_pad=can_pad,
        can_gather=can_gather,
    )
    train(session, attempt.resume, began)
    return session_finish(session, encoder, tensors)


class _Progress:
    """Counts the parts of loading, and stops between them when that was asked."""

    def __init__(self, attempt: Attempt, total: int) -> None:
        self.attempt = attempt
        self.total = total
        self.done = 0
        self._say()

    def _say(self) -> None:
        self.attempt.events.progress(
            done=self.done, total=self.total, unit="parts", phase="loading"
        )

    def next(self) -> None:
        """Say that one more part is loaded."""
        self.attempt.check_stop()
        self.done += 1
        self._say()


def _check(config: RunConfig, attempt: Attempt) -> None:
    """Refuse what can be refused before anything is loaded, and repeat the recipe's warnings."""
    if config.method.base_bits is not None:
        machine_check(config.method.base_bits, device_choose(config.device))
    directory_check("model", config.model)
    if config.anchor_model is not None:
        directory_check("anchor_model", config.anchor_model)
    if attempt.resume is not None:
        state_check(attempt.resume)
    _warn(recipe_warnings(config), attempt)


def _warn(warnings: Sequence[RecipeWarning], attempt: Attempt) -> None:
    for one in warnings:
        attempt.events.warning(where=one.field, message=one.message)


def _encoder(config: RunConfig) -> ChatEncoder:
    try:
        return ChatEncoder.from_directory(config.model)
    except ValueError as error:
        raise ConfigError("model", str(error), "Save the model with its tokenizer.") from error


def _curriculum(
    config: RunConfig, encoder: ChatEncoder, model: Any, attempt: Attempt
) -> Curriculum:
    limit = config.max_example_tokens
    decoder = model.config.get_text_config()
    positions = getattr(decoder, "max_position_embeddings", None) or limit
    if positions < limit:
        message = f"the model reads at most {positions:,} tokens; that limit is used"
        attempt.events.warning(where="max_example_tokens", message=message)
        limit = positions
    curriculum = curriculum_build(config, encoder, limit)
    for pool in curriculum.pools:
        if pool.too_long_count:
            count = f"{pool.too_long_count:,} examples of {pool.name}"
            message = f"{count} are longer than {limit:,} tokens: left out"
            attempt.events.warning(where="max_example_tokens", message=message)
    learnt = {sample.batch_key for sample in curriculum.samples}
    for batch in config.batches:
        if batch.key not in learnt:
            steps = "one step" if curriculum.step_count == 1 else f"{curriculum.step_count:,} steps"
            message = f"nothing of {batch.name} is learnt in {steps}"
            attempt.events.warning(
                where="max_steps", message=f"{message}: use more, or leave it out"
            )
    for pool in curriculum.pools:
        _tokens_check(model, [sample.encoded for sample in (*pool.train, *pool.held_out)])
    return curriculum


def _tokens_check(model: Any, examples: Sequence[EncodedExample]) -> None:
    """Refuse tokens that the model has no embedding for."""
    largest = max((max(example.token_ids) for example in examples), default=0)
    rows = model.get_input_embeddings().weight.shape[0]
    if largest >= rows:
        message = f"the tokenizer knows token {largest}, but the model has {rows} embeddings"
        raise ConfigError("model", message, "Use the tokenizer that belongs to the model.")


def _threads_set(config: RunConfig, ranks: Ranks, device: torch.device) -> None:
    """Set the CPU threads of the recipe; ranks without a GPU share what there is."""
    count = config.threads or torch.get_num_threads()
    if config.threads is None and not ranks.alone and device.type == "cpu":
        count = max(1, count // ranks.count)
    # Also where that is what it was: a number that was set once makes MKL keep to it, so that
    # setting another for a while, as measuring ranks does, changes no product afterwards.
    torch.set_num_threads(count)


def _model_prepare(config: RunConfig, model: Any) -> nn.Module:
    transformers.set_seed(config.seed)  # LoRA's start is drawn, the same in every rank
    with as_if_there(model):
        trained: nn.Module = config.method.kind.attach(model, config.method)
    return trained


def _is_sharded(config: RunConfig, attempt: Attempt, ranks: Ranks) -> bool:
    """Whether ranks share the model; a warning where there is nobody to share it with."""
    if config.ranks.sharding == "none":
        return False
    if ranks.alone:
        message = "there is one process only, so it holds the whole model"
        attempt.events.warning(where="ranks.sharding", message=message)
    return not ranks.alone


def _hold(
    config: RunConfig,
    model: nn.Module,
    tensors: TensorMap,
    attempt: Attempt,
    device: torch.device,
    ranks: Ranks,
    *,
    sharded: bool,
) -> Holding:
    """Let this rank hold its copy of the model, or read its part, or all of it in few bits."""
    if sharded:
        cuts_larger_side = config.method.kind.cuts_larger_side
        shards = Shards(model, ranks, device.type, by_larger_side=cuts_larger_side)
        weights_read(model, config.model, tensors)
        return shards
    if config.method.base_bits is not None:
        _base_quantise(config, model, tensors, attempt, device)
        return Copies(model, ranks)
    model = model.to(device)
    linear_layers_prepare(model)
    if not config.method.kind.is_adapter and device.type == "cpu":
        embedding_gradient_by_row(model)  # a GPU would add the rows in no order that comes again
    return Copies(model, ranks)


def _base_quantise(
    config: RunConfig,
    model: nn.Module,
    tensors: TensorMap,
    attempt: Attempt,
    device: torch.device,
) -> None:
    bits = config.method.base_bits or 0
    dtype = getattr(torch, config.dtype)
    base = base_quantise(model, config.model, tensors, bits=bits, dtype=dtype, device=device)
    message = f"in {bits} bit the layers' weights are off by {100 * base.off:.2g} % of their norm"
    if base.in_full:
        message += f"; these stay in {config.dtype}: {', '.join(base.in_full)}"
    attempt.events.warning(where="method.base_bits", message=message)


def _streaming_check(
    config: RunConfig,
    holding: Holding,
    curriculum: Curriculum,
    attempt: Attempt,
    device: torch.device,
) -> tuple[bool, bool]:
    """Return whether conversations of different lengths may be walked side by side, and whether
    decisions of one may share a backward; the same in every rank.

    ConfigError where the model cannot be streamed at all. Ranks that share the model check it
    together, else the first one does.
    """
    if not config.context_frozen:
        return True, False
    parity: Parity | None = None
    if (model := holding.at_rest()) is not None:
        parity = parity_check(
            model,
            curriculum.samples[0].encoded.token_ids,
            device,
            grad_window=config.context.grad_window,
            together=config.context.together(config.examples_per_step),
            gather=any(len(sample.encoded.decisions) > 1 for sample in curriculum.samples),
        )
        holding.at_rest()
    found = None if parity is None else (parity.can_pad, parity.can_gather)
    can_pad, can_gather = holding.ranks.agree(found)
    if (config.context.conversations_at_once or 1) > 1 and not can_pad:
        kind = base_model(holding.model).config.model_type
        message = (
            f"models of type {kind} read padded conversations wrongly: only conversations whose "
            "decisions stand in the same places are walked side by side, the others one by one"
        )
        attempt.events.warning(where="context.conversations_at_once", message=message)
    return can_pad, can_gather


def _watch(
    config: RunConfig,
    encoder: ChatEncoder,
    holding: Holding,
    curriculum: Curriculum,
    device: torch.device,
) -> Watch | None:
    """The first rank's watch, over its copy, or that of all ranks together, over what they share;
    None in ranks that take no part."""
    if not config.watch.watch_every_steps or not holding.takes_part:
        return None
    model = holding.model
    probes = probes_build(config, curriculum.pools, encoder)
    for probe in probes:
        _tokens_check(model, probe.examples)
    return Watch(
        holding=holding, config=config, curriculum=curriculum, probes=probes, device=device
    )
