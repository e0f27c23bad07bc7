"""Settings of a run that few people change."""

from django import forms

from ftportal.runs.forms.fields import number, whole
from ftportal.runs.forms.sections import Section
from ftportal.runs.recipes import DEVICE_NAMES, SCHEDULE_NAMES
from training.config import DTYPES
from training.methods.apollo import Apollo
from training.methods.lora import LoRA


class MoreFields(forms.Form):
    """The section "More settings"."""

    rank = whole("Rank", 1, "APOLLO 256 and LoRA 16 where this is empty.", required=False)
    scale = number(
        "APOLLO's scale",
        "Write a number above 0, or leave it empty.",
        "Updates are multiplied by its square root. Empty: the smaller side of a matrix by the "
        "rank, and 128 for APOLLO-Mini.",
        required=False,
    )
    lora_alpha = number(
        "LoRA's alpha",
        "Write a number above 0, or leave it empty.",
        "The adapter counts alpha / rank times. Empty: twice the rank.",
        required=False,
    )
    base_bits = forms.TypedChoiceField(
        label="LoRA's base is held",
        choices=[("", "in the precision of the run")]
        + [(str(bits), f"in {bits} bit") for bits in LoRA.base_bits],
        coerce=int,
        empty_value=None,
        required=False,
        help_text="While it trains. In bfloat16 the layers' weights take 16 bit a number, here 8.5 "
        "or 4.1: a half or a quarter of the memory. It costs time, for each weight is restored for "
        "each product, and the adapter learns beside weights that are rounded: by about 0.6 % in 8 "
        "bit and 9 % in 4. The checkpoint is the adapter merged into the parent's own weights. "
        "Needs a CUDA GPU with bitsandbytes.",
    )
    max_steps = whole("Steps at most", 1, "Empty: as many as the epochs need.", required=False)
    schedule = forms.ChoiceField(label="Schedule", choices=list(SCHEDULE_NAMES.items()))
    warmup_steps = whole("Warm-up steps", 0, "The rate rises from 0 over these.")
    weight_decay = number("Weight decay", "Write a number from 0 to 1.")
    max_gradient_norm = number(
        "Clip gradients at norm",
        "Write a number above 0, or leave it empty.",
        "Empty: never.",
        required=False,
    )
    max_example_tokens = whole("Longest example, tokens", 8, "Longer ones are left out.")
    dtype = forms.ChoiceField(
        label="Precision",
        choices=[(name, name) for name in DTYPES],
        help_text="Of weights, gradients and optimizer state; LoRA's adapter is float32.",
    )
    implementation = forms.ChoiceField(
        label="APOLLO by",
        choices=list(Apollo.implementations.items()),
        required=False,
        help_text="ftportal's own, or the authors' package to compare with.",
    )

    save_every_steps = whole(
        "Save every so many steps",
        1,
        "What was done since is lost where a worker dies. Empty: 20.",
        required=False,
    )
    device = forms.ChoiceField(
        label="Computes on",
        choices=list(DEVICE_NAMES.items()),
        required=False,
    )
    threads = whole(
        "Threads of the processor", 1, "Empty: as many as its cores allow.", required=False
    )

    MORE = Section(
        title="More settings",
        fields=(
            "rank",
            "scale",
            "lora_alpha",
            "base_bits",
            "max_steps",
            "schedule",
            "warmup_steps",
            "weight_decay",
            "max_gradient_norm",
            "max_example_tokens",
            "dtype",
            "implementation",
            "save_every_steps",
            "device",
            "threads",
        ),
        defaults={
            "schedule": "constant",
            "warmup_steps": 0,
            "weight_decay": "0",
            "max_gradient_norm": "1",
            "max_example_tokens": 4096,
            "dtype": "float32",
            "implementation": "ftportal",
            "save_every_steps": 20,
            "device": "auto",
        },
    )
