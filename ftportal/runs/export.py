"""Everything that a run measured, as CSV."""

from collections.abc import Iterator

from ftportal.pages.csvs import csv_line
from ftportal.runs.models import Metric, Run
from ftportal.runs.recipes import batch_key
from ftportal.runs.watching import probe_key


def metrics_rows(run: Run) -> Iterator[str]:
    """Lines of step, metric, what it is about (a batch or a text by its name) and value."""
    yield csv_line(["step", "metric", "about", "value"])
    names = _names(run)
    rows = Metric.objects.filter(run=run).order_by("step", "name")
    for step, metric, value in rows.values_list("step", "name", "value").iterator(chunk_size=5000):
        stem, _, key = metric.rpartition("/")
        about = names.get(key, "") if stem else ""
        yield csv_line([step, stem if about else metric, about, value])


def _names(run: Run) -> dict[str, str]:
    """Key in the names of metrics -> what people call it."""
    names = {batch_key(part.batch): str(part.batch) for part in run.mixture.select_related("batch")}
    if run.probe_set is not None:
        names[probe_key(run.probe_set)] = str(run.probe_set)
    return names
