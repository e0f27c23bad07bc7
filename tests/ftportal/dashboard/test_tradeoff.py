"""Learning against forgetting: the numbers by hand, the front, and what is missing."""

import csv
import io
import math
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse
from scipy import stats

from ftportal.dashboard.figures import trade_chart
from ftportal.dashboard.selectors.comparison import comparison, selection
from ftportal.dashboard.selectors.tradeoff import Trade
from tests.ftportal.dashboard import world


def trades_of(*runs: Any) -> list[Trade]:
    result = comparison(runs=selection([str(run.pk) for run in runs]).runs, baseline="parent")
    return list(result.trades)


@pytest.fixture
def traded(contrast: SimpleNamespace) -> SimpleNamespace:
    """On four examples of ten tokens: 20 nats before; careful 15, reckless 4 to 10 after."""
    for checkpoint, nats in (
        (contrast.anchor, [20.0] * 4),
        (contrast.careful.output, [15.0] * 4),
        (contrast.reckless.output, [4.0, 6.0, 8.0, 10.0]),
    ):
        world.retention_make(checkpoint=checkpoint, batch=contrast.answers, nats=nats)
    return contrast


def learned(contrast: SimpleNamespace, name: str, nats: float, rise_nats: float) -> Any:
    """A run that brought its examples down to `nats` and each document of 100 tokens up."""
    run = world.run_make(name=name, parent=contrast.anchor, mixture=[(contrast.answers, 1)])
    world.retention_make(checkpoint=world.output_of(run), batch=contrast.answers, nats=[nats] * 4)
    world.evaluation_make(
        checkpoint=world.output_of(run),
        suite=contrast.suite,
        right={},
        nll={"Manual": [200.0 + rise_nats] * 10, "Library": [200.0 + rise_nats] * 10},
    )
    return run


def test_the_gain_is_the_fall_of_its_own_held_out_loss(traded: SimpleNamespace) -> None:
    """The general batch of the careful run is not part of it: that one set nothing aside here."""
    reckless = trades_of(traded.careful, traded.reckless)[1]
    assert reckless.gain.value == pytest.approx(1.3)
    # Residuals of 10, 12, 14, 16 nats around 13 in 40 tokens.
    error = math.sqrt(4 / 3 * (9 + 1 + 1 + 9)) / 40
    z = stats.t.ppf(0.975, 3)  # wider, with a skewness of 2 / sqrt(4): docs/decisions/0017
    t = z + (2 * z * z + 1) / 6 + 11 * z * (z * z + 2) / 72
    assert reckless.gain.low == pytest.approx(1.3 - t * error)
    assert reckless.gain.high == pytest.approx(1.3 + t * error)


def test_a_general_batch_does_not_count_as_learned(contrast: SimpleNamespace) -> None:
    parts = list(contrast.careful.mixture.select_related("batch"))
    general = next(part.batch for part in parts if part.batch.kind == "general")
    for batch, before, after in ((contrast.answers, 20.0, 15.0), (general, 20.0, 30.0)):
        for one, nats in ((contrast.anchor, before), (contrast.careful.output, after)):
            world.retention_make(checkpoint=one, batch=batch, nats=[nats] * 4)
    assert trades_of(contrast.careful)[0].gain.value == pytest.approx(0.5)


def test_the_loss_takes_all_held_out_text_together(traded: SimpleNamespace) -> None:
    """550 nats more on 1,000 tokens of Manual, nothing on 1,000 of Library."""
    careful, reckless = trades_of(traded.careful, traded.reckless)
    assert careful.loss.value == pytest.approx(0.0)
    assert reckless.loss.value == pytest.approx(math.exp(550 / 2000) - 1)
    low, high = reckless.loss.low, reckless.loss.high
    assert low is not None and high is not None
    assert low < math.exp(550 / 2000) - 1 < high


def test_the_front_has_what_nothing_beats(traded: SimpleNamespace) -> None:
    beaten = learned(traded, "Beaten", nats=16.0, rise_nats=5.0)  # careful learned more for less
    between = learned(traded, "Between", nats=10.0, rise_nats=2.0)
    twin = learned(traded, "Twin", nats=10.0, rise_nats=2.0)
    result = trades_of(traded.careful, traded.reckless, beaten, between, twin)
    assert [one.is_best for one in result] == [True, True, False, True, True]
    chart = trade_chart(result)
    assert chart is not None
    assert [row[-1] for row in chart.rows] == ["yes", "yes", "no", "yes", "yes"]
    assert chart.rows[0][1].startswith("0.5 (")


def test_what_is_missing_is_said(contrast: SimpleNamespace, client_of: Any) -> None:
    waiting = world.run_make(name="Waiting", parent=contrast.anchor, state="running")
    bare = world.batch_make(name="Bare", model=contrast.model, held_out_count=0)
    alone = world.run_make(name="Alone", parent=contrast.anchor, mixture=[(bare, 1)])
    result = trades_of(contrast.reckless, waiting, alone)
    assert [one.gain.why_missing for one in result] == [
        "not measured on its own held-out examples yet",
        "no checkpoint yet",
        "its batches set no examples aside",
    ]
    assert result[2].loss.why_missing == "not measured yet, or its parent is not"
    assert trade_chart(result) is None


def test_different_settings_are_not_compared(contrast: SimpleNamespace) -> None:
    for one, attention in ((contrast.anchor, "sdpa"), (contrast.reckless.output, "eager")):
        world.retention_make(
            checkpoint=one, batch=contrast.answers, nats=[1.0], attention=attention
        )
    assert "different settings" in trades_of(contrast.reckless)[0].gain.why_missing


def test_page_and_csv_have_it(traded: SimpleNamespace, client_of: Any) -> None:
    queued = world.run_make(name="Queued", parent=traded.anchor, state="queued")
    runs = "&".join(f"run={one.pk}" for one in (traded.careful, traded.reckless, queued))
    url = f"{reverse('dashboard:compare')}?{runs}"
    client = client_of(traded.cast.otto)
    page = client.get(url).content.decode()
    assert "Learning against forgetting" in page and "Not drawn: Queued (no checkpoint yet)" in page
    assert "+1.300 nats" in page and "style=" not in page
    rows = {
        row[1]: row
        for row in csv.reader(io.StringIO(client.get(url + "&format=csv").content.decode()))
    }
    assert float(rows["Learned, own held-out examples"][7]) == pytest.approx(1.3)
    assert float(rows["Lost, all held-out text together"][7]) == pytest.approx(math.exp(0.275) - 1)
