"""What people type to start a run."""

from ftportal.runs.forms.mixture import MixtureRow, mixture_rows
from ftportal.runs.forms.run import METHOD_HELP, RunForm, initial_values

__all__ = ["METHOD_HELP", "MixtureRow", "RunForm", "initial_values", "mixture_rows"]
