"""Changes to suites, rules, evaluations and verdicts. Everything public stands here."""

from ftportal.evaluations.services.benchmarks import (
    ItemsRefusedError,
    own_benchmark_delete,
    own_benchmark_upload,
)
from ftportal.evaluations.services.early import early_config, early_judge, early_request
from ftportal.evaluations.services.follow_ups import follow_ups_sweep
from ftportal.evaluations.services.repeats import evaluation_repeat
from ftportal.evaluations.services.requests import (
    checkpoint_measure,
    default_measure,
    evaluation_request,
)
from ftportal.evaluations.services.results import evaluation_finish
from ftportal.evaluations.services.retention import retention_finish, retention_request
from ftportal.evaluations.services.seed import evaluations_seed
from ftportal.evaluations.services.suites import (
    EvaluationError,
    suite_create,
    verdict_rule_create,
)
from ftportal.evaluations.services.verdicts import (
    checkpoint_judge,
    verdict_reach,
    verdicts_reach_possible,
    verdicts_renew,
    verdicts_stale,
)

__all__ = [
    "EvaluationError",
    "ItemsRefusedError",
    "checkpoint_judge",
    "checkpoint_measure",
    "default_measure",
    "early_config",
    "early_judge",
    "early_request",
    "evaluation_finish",
    "evaluation_repeat",
    "evaluation_request",
    "evaluations_seed",
    "follow_ups_sweep",
    "own_benchmark_delete",
    "own_benchmark_upload",
    "retention_finish",
    "retention_request",
    "suite_create",
    "verdict_reach",
    "verdict_rule_create",
    "verdicts_reach_possible",
    "verdicts_renew",
    "verdicts_stale",
]
