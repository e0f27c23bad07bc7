"""The table of a large model: the page that is kept is what the command writes now."""

from benchmarks.large import CARDS, Case, Model, model_of_class, report
from benchmarks.machine import ROOT
from training.ahead.memory import GATHERED, WEIGHTS

PAGE = ROOT / "docs/results/large.md"


def test_the_kept_page_is_as_the_estimate_says_now() -> None:
    model = model_of_class()
    assert 26e9 < model.parameters < 28e9
    assert model.decoder.attending == 16
    assert PAGE.read_text(encoding="utf-8") == report(model)
    _check_cases(model)


def _check_cases(model: Model) -> None:
    """What can be said without any estimate: weights by hand, and more cards are less for each."""
    one, four, eight = (
        Case(method="adamw", cards=count, context=4096).memory(model) for count in (1, 4, 8)
    )
    assert one.part_bytes(WEIGHTS) == 2 * model.parameters
    assert abs(4 * four.part_bytes(WEIGHTS) - 2 * model.parameters) < 4
    assert one.part_bytes(GATHERED) == 0 < four.part_bytes(GATHERED)
    assert one.total_bytes > four.total_bytes > eight.total_bytes
    assert one.total_bytes > max(CARDS) << 30
