"""Keys and values that query heads share are not copied for each of them on the CPU."""

import pytest
import torch
from transformers.integrations.sdpa_attention import use_gqa_in_sdpa

from training.models import attention_prepare


@pytest.mark.parametrize(("device", "shared"), [("cpu", True), ("cuda", False)])
def test_under_a_mask_only_the_cpu_reads_them_as_they_are(
    monkeypatch: pytest.MonkeyPatch, device: str, shared: bool
) -> None:
    monkeypatch.setenv("TRANSFORMERS_SDPA_FORCE_GQA", "unset")  # so that it is put back
    attention_prepare(torch.device(device))
    keys = torch.zeros(1, 3, 8, 64)
    assert use_gqa_in_sdpa(torch.zeros(1, 1, 4, 8), keys, keys) is shared
    assert use_gqa_in_sdpa(None, keys, keys)
