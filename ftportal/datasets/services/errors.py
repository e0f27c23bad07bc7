"""What services of data sets refuse."""

from engine.errors import ProblemError


class DatasetError(ProblemError):
    """Something cannot be done with a data set."""
