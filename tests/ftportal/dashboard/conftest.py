"""A model with a careful session and a reckless one, measured and judged."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from evaluation.rule import Rule
from tests.ftportal.dashboard import world

BEFORE = [1] * 8 + [0] * 2
"""Eight of ten right."""


@pytest.fixture
def contrast(cast: SimpleNamespace, data_dir: Path) -> SimpleNamespace:
    """The careful session changed nothing; the reckless one lost seven of ten and doubled prose.

    Ten documents a set, 100 tokens each at 2 nats: perplexity e² before.
    """
    model = world.model_make()
    anchor = model.pretrained
    suite = world.suite_make(
        sets={"Manual": "prose", "Library": "code"}, rule=Rule(pooled_margin=0.2)
    )
    answers = world.batch_make(name="Answers", model=model, uploaded_by=cast.tina)
    general = world.batch_make(name="General", model=model, kind="general", uploaded_by=cast.tina)
    careful = world.run_make(
        name="Careful",
        parent=anchor,
        submitter=cast.tina,
        mixture=[(answers, 3), (general, 1)],
        losses=[3.0] * 10 + [1.0] * 10,
        moved=[0.5, 1.25],
    )
    reckless = world.run_make(
        name="Reckless",
        parent=anchor,
        submitter=cast.tina,
        mixture=[(answers, 1)],
        losses=[3.0] * 10 + [0.25] * 10,
        moved=[9.0, 21.5],
        learning_rate=3e-4,
        method={"name": "adamw"},
    )
    right = {"local_code": BEFORE, "local_language": BEFORE}
    lost = {"local_code": [0] * 7 + [1] + [0] * 2, "local_language": BEFORE}
    flat = {"Manual": [200.0] * 10, "Library": [200.0] * 10}
    harmed = {"Manual": [250.0 + 10 * (i % 2) for i in range(10)], "Library": [200.0] * 10}
    before = world.evaluation_make(checkpoint=anchor, suite=suite, right=right, nll=flat)
    kept = world.evaluation_make(
        checkpoint=world.output_of(careful), suite=suite, right=right, nll=flat
    )
    gone = world.evaluation_make(
        checkpoint=world.output_of(reckless), suite=suite, right=lost, nll=harmed
    )
    return SimpleNamespace(
        cast=cast,
        model=model,
        anchor=anchor,
        suite=suite,
        answers=answers,
        careful=careful,
        reckless=reckless,
        evaluation_before=before,
        verdict_careful=world.judged(before, kept),
        verdict_reckless=world.judged(before, gone),
    )
