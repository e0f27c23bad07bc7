"""A candidate with everything behind it."""

from types import SimpleNamespace

import pytest


@pytest.fixture
def ready(pair: SimpleNamespace, cast: SimpleNamespace) -> SimpleNamespace:
    """The pair, the candidate measured, retained, reviewed by Rob and approved."""
    from tests.ftportal.house import approval_make, verdict_make

    verdict_make(pair.candidate, pair.baseline)
    approval_make(pair.candidate, pair.baseline, cast.rob)
    return pair
