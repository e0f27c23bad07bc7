"""`make bench-portal`: what its lines say. `tests/ftportal/test_many_runs.py` fills a portal."""

import json

from benchmarks.portal import line_of, table, timed


def test_a_line_has_the_median_beside_its_mark() -> None:
    line = line_of("a page", [30.0, 10.0, 20.123], "ms", 100)
    assert (line["value"], line["spread"], line["times"]) == (20.12, [10.0, 30.0], 3)
    assert json.loads(json.dumps(line)) == line
    assert "20.12 ms" in table([line]) and "100 ms" in table([line])


def test_the_first_time_does_not_count() -> None:
    calls: list[int] = []
    assert len(timed(lambda: calls.append(1), 3)) == 3
    assert len(calls) == 4
