"""A model with a careful session and a reckless one, measured and judged."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.ftportal.dashboard import world


@pytest.fixture
def contrast(cast: SimpleNamespace, data_dir: Path) -> SimpleNamespace:
    """See `world.contrast_make`."""
    return world.contrast_make(cast)
