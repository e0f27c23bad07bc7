"""The study's plot: loss of perplexity against each predictor, as a plain SVG."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from benchmarks.study.plan import FROZEN, RATES

COLOURS = {"adamw": "#1b6ca8", "apollo": "#c2571a", "apollo_mini": "#2e7d4f", "lora": "#8a4fa3"}
_PANEL_WIDTH, _PANEL_HEIGHT, _GAP, _LEFT, _TOP, _COLUMNS = 250, 190, 60, 60, 56, 3
_STYLE = "text{font:12px system-ui,sans-serif;fill:#333}.axis{stroke:#999;fill:none}"


class Scale:
    """Maps values to pixels, by their logarithms if all are above 0 and they span 10 times."""

    def __init__(self, values: Sequence[float], low: float, high: float) -> None:
        self.log = min(values) > 0 and max(values) / min(values) > 10
        ends = [self._turn(f(values)) for f in (min, max)]
        margin = 0.06 * (ends[1] - ends[0]) or 1.0
        self.first, self.last = ends[0] - margin, ends[1] + margin
        self.low, self.high = low, high

    def _turn(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def place(self, value: float) -> float:
        """Pixels of a value."""
        share = (self._turn(value) - self.first) / (self.last - self.first)
        return self.low + share * (self.high - self.low)

    def ticks(self) -> list[float]:
        """Three values to write at the axis: near both ends and in the middle."""
        places = [self.first + share * (self.last - self.first) for share in (0.08, 0.5, 0.92)]
        return [10**one if self.log else one for one in places]


def plot(
    runs: Sequence[dict[str, Any]], predictors: dict[str, str], outcome: str, outcome_words: str
) -> str:
    """Return an SVG of one panel a predictor (name in a run's record -> words)."""
    rows = -(-len(predictors) // _COLUMNS)
    width = _LEFT + _COLUMNS * (_PANEL_WIDTH + _GAP)
    height = _TOP + rows * (_PANEL_HEIGHT + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(outcome_words)} '
        'against each predictor">',
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
        _legend(),
    ]
    for number, (name, words) in enumerate(predictors.items()):
        left = _LEFT + (number % _COLUMNS) * (_PANEL_WIDTH + _GAP)
        top = _TOP + (number // _COLUMNS) * (_PANEL_HEIGHT + _GAP)
        known = [run for run in runs if run[name] is not None]
        if known:
            parts.append(_panel(known, name, words, outcome, outcome_words, left, top))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend() -> str:
    parts = []
    for number, method in enumerate(RATES):
        x = _LEFT + 110 * number
        parts.append(f'<circle cx="{x}" cy="18" r="5" fill="{COLOURS[method]}"/>')
        parts.append(f'<text x="{x + 10}" y="22">{method}</text>')
    x = _LEFT + 110 * len(RATES)
    parts.append(f'<circle cx="{x}" cy="18" r="5" fill="#333"/>')
    parts.append(f'<text x="{x + 10}" y="22">frozen context</text>')
    parts.append(f'<circle cx="{x + 120}" cy="18" r="4.5" fill="#fff" stroke="#333"/>')
    parts.append(f'<text x="{x + 130}" y="22">full gradient; large: the higher rate</text>')
    return "".join(parts)


def _panel(
    runs: Sequence[dict[str, Any]],
    name: str,
    words: str,
    outcome: str,
    outcome_words: str,
    left: int,
    top: int,
) -> str:
    right, bottom = left + _PANEL_WIDTH, top + _PANEL_HEIGHT
    across = Scale([run[name] for run in runs], left, right)
    up = Scale([run[outcome] for run in runs], bottom, top)
    parts = [f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>']
    scale_words = f"{words}{', log scale' if across.log else ''}"
    parts.append(
        f'<text x="{(left + right) / 2}" y="{bottom + 34}" text-anchor="middle">'
        f"{escape(scale_words)}</text>"
    )
    parts.append(f'<text x="{left}" y="{top - 6}">{escape(outcome_words)}</text>')
    for value in across.ticks():
        x = across.place(value)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{value:.2g}</text>')
    for value in up.ticks():
        y = up.place(value)
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2g}</text>')
    parts.extend(_mark(run, across.place(run[name]), up.place(run[outcome])) for run in runs)
    return "\n".join(parts)


def _mark(run: dict[str, Any], x: float, y: float) -> str:
    colour = COLOURS[run["method"]]
    radius = 5.5 if run["rate"] == max(RATES[run["method"]]) else 3.5
    fill = colour if run["gradient"] == FROZEN else "none"
    title = f"{run['method']} {run['rate']:g}, {run['gradient']}, seed {run['seed']}"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" fill-opacity="0.8" '
        f'stroke="{colour}"><title>{escape(title)}</title></circle>'
    )
