"""What the tests of the upper floors share."""

from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def pair(cast: SimpleNamespace, data_dir: Any) -> SimpleNamespace:
    """`pair.candidate` of Tina's run, and `pair.baseline`, the pre-trained champion."""
    from tests.ftportal.house import checkpoint_make, model_make

    model = model_make()
    candidate = checkpoint_make(model, "Zebra nine", model.pretrained, run_by=cast.tina)
    return SimpleNamespace(model=model, candidate=candidate, baseline=model.pretrained)
