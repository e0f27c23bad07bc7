"""What people type to start a run."""

from ftportal.runs.forms.mixture import MixtureRow, mixture_data, mixture_rows
from ftportal.runs.forms.run import RunForm, initial_values

__all__ = ["MixtureRow", "RunForm", "initial_values", "mixture_data", "mixture_rows"]
