"""The recipe of a run: RUN_DIR/config.json, checked as a whole before anything is loaded.

No torch here: the portal builds and checks recipes with this module.
"""

from training.config.batch import KINDS, BatchConfig
from training.config.context import (
    CONTEXT_TOKENS,
    GATHERED_TOKENS,
    USUAL_TOKENS_TOGETHER,
    ContextConfig,
)
from training.config.defences import EWC_VARIANTS, DefencesConfig
from training.config.diagnostics import DiagnosticsConfig
from training.config.method import IMPLEMENTATIONS, METHODS, MethodConfig
from training.config.ranks import AUTO, BUCKET_NUMBERS, SHARDINGS, RanksConfig
from training.config.run import DEVICES, DTYPES, GROUPS, SCHEDULES, RunConfig, example_config
from training.config.watch import ProbeConfig, WatchConfig, brake_refusal

__all__ = [
    "AUTO",
    "BUCKET_NUMBERS",
    "CONTEXT_TOKENS",
    "DEVICES",
    "DTYPES",
    "EWC_VARIANTS",
    "GATHERED_TOKENS",
    "GROUPS",
    "IMPLEMENTATIONS",
    "KINDS",
    "METHODS",
    "SCHEDULES",
    "SHARDINGS",
    "USUAL_TOKENS_TOGETHER",
    "BatchConfig",
    "ContextConfig",
    "DefencesConfig",
    "DiagnosticsConfig",
    "MethodConfig",
    "ProbeConfig",
    "RanksConfig",
    "RunConfig",
    "WatchConfig",
    "brake_refusal",
    "example_config",
]
