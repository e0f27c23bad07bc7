"""What pages and other floors read about evaluations. Everything public stands here."""

from ftportal.evaluations.selectors.benchmarks import (
    KnownBenchmark,
    benchmark_titles,
    judged_benchmarks,
    known_benchmarks,
    own_benchmark_items,
)
from ftportal.evaluations.selectors.change import Change
from ftportal.evaluations.selectors.changed import CHANGES, changed_items
from ftportal.evaluations.selectors.divergence import (
    DivergenceRow,
    divergence_missing,
    divergence_rows,
)
from ftportal.evaluations.selectors.measured import (
    STATE_FILTERS,
    baselines,
    default_suite,
    documents_of,
    early_evaluations,
    evaluation_list,
    evaluation_of,
    items_of,
    latest_verdict,
    live_evaluations,
    measured_evaluation,
    suites_in_use,
)
from ftportal.evaluations.selectors.noise import NoiseFloor, live_repeat, noise_floor
from ftportal.evaluations.selectors.pinned import pinned_fields, retention_dtype
from ftportal.evaluations.selectors.retention import (
    RetentionRow,
    Since,
    retention_jobs,
    retention_rows,
)
from ftportal.evaluations.selectors.rules import anchor_sentence, rule_sentences, rules_in_force
from ftportal.evaluations.selectors.scores import (
    ACCURACY,
    PERPLEXITY,
    Cell,
    Row,
    comparison_rows,
    score_rows,
)

__all__ = [
    "ACCURACY",
    "CHANGES",
    "PERPLEXITY",
    "STATE_FILTERS",
    "Cell",
    "Change",
    "DivergenceRow",
    "KnownBenchmark",
    "NoiseFloor",
    "RetentionRow",
    "Row",
    "Since",
    "anchor_sentence",
    "baselines",
    "benchmark_titles",
    "changed_items",
    "comparison_rows",
    "default_suite",
    "divergence_missing",
    "divergence_rows",
    "documents_of",
    "early_evaluations",
    "evaluation_list",
    "evaluation_of",
    "items_of",
    "judged_benchmarks",
    "known_benchmarks",
    "latest_verdict",
    "live_evaluations",
    "live_repeat",
    "measured_evaluation",
    "noise_floor",
    "own_benchmark_items",
    "pinned_fields",
    "retention_dtype",
    "retention_jobs",
    "retention_rows",
    "rule_sentences",
    "rules_in_force",
    "score_rows",
    "suites_in_use",
]
