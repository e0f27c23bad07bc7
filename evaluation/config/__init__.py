"""EVAL_DIR/config.json, checked as a whole before anything is loaded.

Three actions: `measure` (benchmarks, perplexity, what is kept of sessions), `generate` (answers to
prompts) and `score` (the decisions of a batch). No torch here: the portal builds configs with this
package. A field that is unknown, missing or impossible raises ConfigError, which names it; nothing
is silently ignored.
"""

from evaluation.config.actions import (
    AUTO,
    BATCH_SIZE_CPU,
    BATCH_SIZE_MOST,
    DEVICES,
    DTYPES,
    EngineConfig,
    GenerateConfig,
    MeasureConfig,
    ScoreConfig,
    config_from_json,
)
from evaluation.config.adaptive import AdaptiveConfig, AdaptiveGroup
from evaluation.config.items import (
    ROLES,
    SOURCES,
    BenchmarkConfig,
    HeldOutConfig,
    PromptConfig,
    SessionConfig,
)

__all__ = [
    "AUTO",
    "BATCH_SIZE_CPU",
    "BATCH_SIZE_MOST",
    "DEVICES",
    "DTYPES",
    "ROLES",
    "SOURCES",
    "AdaptiveConfig",
    "AdaptiveGroup",
    "BenchmarkConfig",
    "EngineConfig",
    "GenerateConfig",
    "HeldOutConfig",
    "MeasureConfig",
    "PromptConfig",
    "ScoreConfig",
    "SessionConfig",
    "config_from_json",
]
