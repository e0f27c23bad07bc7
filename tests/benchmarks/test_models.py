"""The table of families: one family done, what fails said, and the table that is kept."""

from pathlib import Path

import pytest

from benchmarks.machine import ROOT
from benchmarks.models import CELLS, FAMILIES, REFUSED, Trial, refusal, report, trial_make

TABLE = ROOT / "docs/results/models.md"


@pytest.mark.slow
def test_one_family_is_done_in_every_cell(tmp_path: Path) -> None:
    trial = trial_make("Qwen3.5-MoE", "qwen3_5_moe_published", tmp_path)
    assert trial.cells == dict.fromkeys(CELLS, "yes")
    assert trial.is_well


def test_what_fails_is_told_beneath_the_table() -> None:
    cells = dict.fromkeys(CELLS, "yes") | {"LoRA": "method.name: there is nothing to adapt."}
    table = report([Trial("Llama", "LlamaForCausalLM", cells, 1.25)])
    row = next(line for line in table.splitlines() if line.startswith("| Llama "))
    assert row.count("yes") == len(CELLS) - 1 and "**no**" in row
    assert "- Llama, LoRA: method.name: there is nothing to adapt." in table


def test_the_kept_table_has_every_family_and_the_reasons_as_they_are_now() -> None:
    kept = TABLE.read_text(encoding="utf-8")
    for title in FAMILIES:
        assert f"| {title} | `" in kept, "run `make models-table`"
    for title, config in REFUSED.items():
        assert f"| {title} | {refusal(config)} |" in kept, "run `make models-table`"
