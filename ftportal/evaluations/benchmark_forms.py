"""Forms of benchmarks and of the suites that ask for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django import forms

from evaluation.config import AUTO, BATCH_SIZE_CPU, BATCH_SIZE_MOST, DTYPES
from ftportal.checkpoints.asking.forms import TemplateArgumentsField
from ftportal.datasets.models import HeldOutSet
from ftportal.evaluations.models import OwnBenchmark, Suite, VerdictRule
from ftportal.evaluations.selectors import KnownBenchmark, known_benchmarks, rules_in_force
from ftportal.evaluations.services.suites import CHAT, SETTINGS
from ftportal.pages.lists import whole_of

USE, LIMIT = "use_", "limit_"
_WHOLE_MAX = 2**31 - 1
_DTYPE_WORDS = {AUTO: "bfloat16 on a GPU"}


class BenchmarkForm(forms.Form):
    """Upload a benchmark of one's own."""

    file = forms.FileField(label="File", allow_empty_file=True)
    name = forms.CharField(max_length=80)
    description = forms.CharField(
        max_length=300, required=False, help_text="What it asks. Shown beside its name."
    )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One benchmark in the suite form."""

    known: KnownBenchmark
    use: forms.BoundField
    limit: forms.BoundField


class SuiteForm(forms.Form):
    """What a suite measures, how, and which rule judges it."""

    name = forms.CharField(
        max_length=80, help_text="A name that exists makes its next version; the old one stays."
    )
    description = forms.CharField(max_length=300, required=False)
    tasks = forms.CharField(
        label="Other lm-eval tasks",
        max_length=20_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Names of tasks or groups, one a line or parted by commas; a number after a "
        "colon takes so many items, as in triviaqa:500.",
    )
    held_out_sets = forms.ModelMultipleChoiceField(
        label="Held-out text",
        queryset=HeldOutSet.objects.all(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    max_documents = forms.IntegerField(
        label="Documents of each",
        min_value=1,
        max_value=_WHOLE_MAX,
        required=False,
        help_text="Empty: all of them. A few dozen show more than eight.",
    )
    max_document_tokens = forms.IntegerField(
        label="Tokens of each, at most", min_value=2, max_value=_WHOLE_MAX
    )
    window_tokens = forms.IntegerField(
        label="Window, tokens",
        min_value=2,
        max_value=_WHOLE_MAX,
        help_text="The most the model sees at once.",
    )
    stride_tokens = forms.IntegerField(
        label="Stride, tokens",
        min_value=1,
        max_value=_WHOLE_MAX,
        help_text="How far the window moves: below the window.",
    )
    batch_size = forms.IntegerField(
        label="Sequences a pass",
        min_value=1,
        max_value=_WHOLE_MAX,
        required=False,
        help_text=f"Empty: as many as fit a GPU, at most {BATCH_SIZE_MOST}; {BATCH_SIZE_CPU} on a "
        "processor. A model's first measurement finds it, and all others take it over.",
    )
    dtype = forms.ChoiceField(
        label="Number format",
        choices=[(one, _DTYPE_WORDS.get(one, one)) for one in DTYPES],
        help_text="With “bfloat16 on a GPU” a processor measures in float32, and a model's first "
        "measurement settles which. Rounding to bfloat16 hides the smallest changes of weights "
        "that are kept in float32.",
    )
    kl_tokens = forms.IntegerField(
        label="Tokens compared with the parent",
        min_value=1,
        max_value=_WHOLE_MAX,
        help_text="For forward KL. Memory: tokens times vocabulary times 4 bytes; 512 take 100 MB "
        "with SmolLM2.",
    )
    seed = forms.IntegerField(
        min_value=0, max_value=_WHOLE_MAX, help_text="Draws few-shot examples."
    )
    allow_code_execution = forms.BooleanField(
        label="Run code that the model wrote",
        required=False,
        help_text="Benchmarks such as HumanEval run it where evaluations run, with the rights of "
        "the worker and nothing to contain it. Allow it on a machine you can afford to lose only.",
    )
    chat_template = forms.BooleanField(
        label="Ask benchmarks through the model's chat template",
        required=False,
        help_text="As the model is asked in use. One that has no template is asked as plain text.",
    )
    template_arguments = TemplateArgumentsField(
        label="Template arguments",
        help_text='JSON, such as {"enable_thinking": false}. A model whose template does not know '
        "one of them cannot be measured by the suite.",
    )
    rule = forms.ModelChoiceField(
        label="Judged by", queryset=VerdictRule.objects.all(), empty_label=None
    )
    is_default = forms.BooleanField(
        label="Measure every new checkpoint by it",
        required=False,
        help_text="In place of the suite that does now.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        newest = [view.stored.pk for view in rules_in_force()]
        self.fields["rule"].queryset = VerdictRule.objects.filter(pk__in=newest)  # type: ignore[attr-defined]
        self.known = known_benchmarks()
        for name, one in self.known.items():
            self.fields[USE + name] = forms.BooleanField(label=one.title, required=False)
            most = one.item_count if one.source != "lm_eval" else _WHOLE_MAX
            self.fields[LIMIT + name] = forms.IntegerField(
                label=f"Items of {one.title}",
                min_value=1,
                max_value=most,
                required=False,
                widget=forms.NumberInput(attrs={"placeholder": "all"}),
            )

    def choices(self, source: str) -> Iterator[Choice]:
        """The benchmarks of one source, with their fields."""
        for name, one in self.known.items():
            if one.source == source:
                yield Choice(known=one, use=self[USE + name], limit=self[LIMIT + name])

    @property
    def local(self) -> list[Choice]:
        """Those that ship with the portal."""
        return list(self.choices("local"))

    @property
    def own(self) -> list[Choice]:
        """Those that people uploaded."""
        return list(self.choices("own"))

    @property
    def standard(self) -> list[Choice]:
        """lm-eval's best known."""
        return list(self.choices("lm_eval"))

    def clean_tasks(self) -> list[dict[str, Any]]:
        """The other tasks as a suite takes them."""
        tasks = []
        for part in self.cleaned_data["tasks"].replace(",", "\n").split():
            name, _, limit = part.partition(":")
            if limit and not whole_of(limit):
                raise forms.ValidationError(f"{part}: write a number above 0 after the colon.")
            tasks.append({"name": name, "source": "lm_eval", "limit": int(limit or 0) or None})
        return tasks

    def clean_batch_size(self) -> int | str:
        """What is empty is found by the engine."""
        return self.cleaned_data["batch_size"] or AUTO

    def clean(self) -> dict[str, Any]:
        """A window has to move by less than its length."""
        cleaned = super().clean() or {}
        window, stride = cleaned.get("window_tokens"), cleaned.get("stride_tokens")
        if window and stride and stride >= window:
            self.add_error("stride_tokens", "Write less than the window, for example half of it.")
        return cleaned

    @property
    def suite_fields(self) -> dict[str, Any]:
        """What `suite_create` takes."""
        values = self.cleaned_data
        benchmarks = [
            {"name": name, "source": one.source, "limit": values[LIMIT + name]}
            for name, one in self.known.items()
            if values[USE + name]
        ]
        return {
            "name": values["name"].strip(),
            "description": values["description"].strip(),
            "benchmarks": [*benchmarks, *values["tasks"]],
            "held_out_sets": list(values["held_out_sets"]),
            "settings": {name: values[name] for name in SETTINGS | CHAT if name in values},
            "rule": values["rule"],
            "is_default": values["is_default"],
        }


def suite_initial(suite: Suite | None) -> dict[str, Any]:
    """The form filled from a suite, for its next version; None: from the defaults."""
    if suite is None:
        return _form_settings(SETTINGS) | {"chat_template": True}
    known = known_benchmarks()
    own_keys = set(OwnBenchmark.objects.values_list("key", flat=True))
    initial = _form_settings(SETTINGS | suite.settings)
    initial |= {"name": suite.name, "description": suite.description, "rule": suite.rule_id}
    initial |= {"held_out_sets": suite.held_out_sets.all(), "is_default": suite.is_default}
    others = []
    for one in suite.benchmarks:
        if one["name"] in known or one["name"] in own_keys:
            initial |= {USE + one["name"]: True, LIMIT + one["name"]: one["limit"]}
        elif one["source"] == "lm_eval":
            others.append(one["name"] + (f":{one['limit']}" if one["limit"] else ""))
    return initial | {"tasks": "\n".join(others)}


def _form_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """A suite's settings as its form holds them."""
    return settings | ({"batch_size": None} if settings["batch_size"] == AUTO else {})
