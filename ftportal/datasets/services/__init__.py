"""Changes to batches, held-out sets and prompt sets."""

from ftportal.datasets.services.answers import batch_answer, batch_good_only
from ftportal.datasets.services.batches import batch_delete, batch_upload
from ftportal.datasets.services.describing import batch_describe, batch_withdraw
from ftportal.datasets.services.errors import DatasetError
from ftportal.datasets.services.texts import (
    DEFAULT_PROMPT_SET,
    PROMPTS_MAX,
    default_prompt_set_seed,
    held_out_set_create,
    prompt_set_create,
)
from ftportal.datasets.services.versions import batch_version, refused_files_drop

__all__ = [
    "DEFAULT_PROMPT_SET",
    "PROMPTS_MAX",
    "DatasetError",
    "batch_answer",
    "batch_delete",
    "batch_describe",
    "batch_good_only",
    "batch_upload",
    "batch_version",
    "batch_withdraw",
    "default_prompt_set_seed",
    "held_out_set_create",
    "prompt_set_create",
    "refused_files_drop",
]
