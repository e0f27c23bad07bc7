"""A small suite, checkpoints without files, and measurements whose every item is known."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from evaluation.judging.rule import Rule
from ftportal.checkpoints.models import Checkpoint, LanguageModel
from ftportal.evaluations.models import Evaluation, Suite
from ftportal.evaluations.services import (
    evaluation_finish,
    evaluation_request,
    suite_create,
    verdict_rule_create,
)
from tests.ftportal.evaluations.known import (
    DOCUMENTS,
    digest,
    document_lines,
    output_write,
    sample_lines,
)


@pytest.fixture
def rule(db: None) -> Any:
    """Margins that suit a thousand items."""
    return verdict_rule_create(name="Test rule", rule=Rule(pooled_margin=0.03, default_margin=0.03))


@pytest.fixture
def held_out(db: None, data_dir: Path) -> Any:
    """Four short documents."""
    from ftportal.datasets.services import held_out_set_create

    return held_out_set_create(
        name="Test prose", domain="prose", source="the tests", documents=DOCUMENTS
    )


@pytest.fixture
def suite(rule: Any, held_out: Any) -> Suite:
    """Two benchmarks and a held-out set, the default."""
    return suite_create(
        name="Test suite",
        description="Two benchmarks and four documents.",
        benchmarks=[
            {"name": "local_code", "source": "local", "limit": 2},
            {"name": "local_language", "source": "local", "limit": 2},
        ],
        held_out_sets=[held_out],
        settings={"max_document_tokens": 64, "window_tokens": 64, "stride_tokens": 32},
        rule=rule,
        is_default=True,
    )


@pytest.fixture
def child_of(data_dir: Path) -> Callable[[Checkpoint, str], Checkpoint]:
    """`child_of(parent, name)`: a checkpoint without files."""

    def make(parent: Checkpoint, name: str) -> Checkpoint:
        return Checkpoint.objects.create(
            language_model=parent.language_model,
            parent=parent,
            depth=parent.depth + 1,
            name=name,
            path=f"checkpoints/{name}",
            manifest_hash=digest(name),
            size_bytes=1,
            displacement_pretrained=1.0,
        )

    return make


@pytest.fixture
def bare_model(db: None, data_dir: Path) -> LanguageModel:
    """A language model whose anchor has no files: enough for everything but the engine."""
    model = LanguageModel.objects.create(name="Bare", source="the tests", parameter_count=1)
    Checkpoint.objects.create(
        language_model=model,
        name="Bare, pre-trained",
        path="models/bare",
        manifest_hash=digest("bare"),
        size_bytes=1,
    )
    return model


@pytest.fixture
def measured(suite: Suite) -> Callable[..., Evaluation]:
    """`measured(checkpoint, {"local_code": "1101"}, nll_nats=2.0)`: imported as from the engine."""

    def make(
        checkpoint: Checkpoint,
        outcomes: Mapping[str, str],
        *,
        nll_nats: float = 2.0,
        by: Suite = suite,
        **settings: Any,
    ) -> Evaluation:
        evaluation = evaluation_request(checkpoint=checkpoint, suite=by, created_by=None)
        key = by.held_out_sets.get().sha256
        output_write(
            evaluation.job, sample_lines(outcomes), document_lines(key, nll_nats), **settings
        )
        evaluation_finish(evaluation.job)
        evaluation.refresh_from_db()
        return evaluation

    return make
