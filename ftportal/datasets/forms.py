"""Forms of the datasets app. What is wrong with a file itself, the services say."""

from typing import Any

from django import forms

from ftportal.checkpoints.asking.forms import TemplateArgumentsField
from ftportal.checkpoints.models import ANSWER_TOKENS_MAX, LanguageModel
from ftportal.datasets.models import (
    ANSWER_TOKENS,
    DECISION_RULES,
    REASONING,
    BatchKind,
    PromptSetKind,
)

KIND_HELP = {
    BatchKind.AGENT_LOG: "what an agent did, tool turns and all",
    BatchKind.CONVERSATION: "talks with people",
    BatchKind.DREAM: "texts the model made for itself",
    BatchKind.PERSONALITY: "how it should speak and behave",
    BatchKind.GENERAL: "varied examples that keep what it already knows",
}


RULE_BY_KIND: dict[str, str] = {BatchKind.AGENT_LOG: "all"}
"""What is learnt where nobody chose: of an agent's log every turn and tool call, else the last."""


class BatchForm(forms.Form):
    """Upload a batch."""

    file = forms.FileField(label="File", allow_empty_file=True, required=False)
    upload = forms.UUIDField(required=False, help_text="an upload in pieces, in the file's place")
    name = forms.CharField(max_length=120, required=False)
    kind = forms.ChoiceField(choices=BatchKind.choices, widget=forms.RadioSelect)
    decision_rule = forms.ChoiceField(
        label="Decision tokens", choices=DECISION_RULES, required=False
    )
    reasoning = forms.ChoiceField(choices=REASONING, required=False)
    empty_reasoning = forms.BooleanField(required=False)
    template_arguments = TemplateArgumentsField(label="Template arguments")
    language_model = forms.ModelChoiceField(
        label="Model",
        queryset=LanguageModel.objects.none(),  # of the person who asks: see below
        empty_label=None,
        help_text="Its tokenizer counts the tokens.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """With only one model there is nothing to choose."""
        super().__init__(*args, **kwargs)
        field: Any = self.fields["language_model"]
        field.queryset = LanguageModel.objects.all()
        models = list(LanguageModel.objects.all()[:2])
        self.only_model = models[0] if len(models) == 1 else None
        if self.only_model is not None:
            del self.fields["language_model"]

    def clean(self) -> dict[str, Any]:
        """A batch is a file, or an upload of this person's that is whole."""
        cleaned = super().clean() or {}
        if not cleaned.get("file") and not cleaned.get("upload") and "file" not in self.errors:
            self.add_error("file", "Choose a file.")
        return cleaned

    @property
    def model_field(self) -> forms.BoundField | None:
        """The field of the model where there is a choice."""
        return None if self.only_model else self["language_model"]

    @property
    def chosen_rule(self) -> str:
        """The decision rule chosen, or what is usual for the kind."""
        rule: str = self.cleaned_data["decision_rule"]
        return rule or RULE_BY_KIND.get(self.cleaned_data["kind"], "last")

    @property
    def chosen_model(self) -> LanguageModel:
        """The model chosen, or the only one."""
        model: LanguageModel = self.only_model or self.cleaned_data["language_model"]
        return model


class HeldOutSetForm(forms.Form):
    """Upload a held-out set."""

    file = forms.FileField(
        label="File",
        allow_empty_file=True,
        help_text='JSON lines of {"text": "..."}, or plain text whose documents are parted by '
        "lines of --- or else by empty lines.",
    )
    name = forms.CharField(max_length=120)
    domain = forms.CharField(
        max_length=40, help_text="What sort of text it is: prose, code, conversation."
    )
    source = forms.CharField(max_length=300, help_text="Where the text came from.")


class PromptSetForm(forms.Form):
    """Upload a prompt set."""

    file = forms.FileField(
        label="File",
        allow_empty_file=True,
        help_text='JSON lines of {"group": "code", "prompt": "..."} or, with several turns, '
        '{"group": "conversation", "messages": [...]}. Groups: code, filesystem, conversation.',
    )
    name = forms.CharField(max_length=120)
    kind = forms.ChoiceField(
        label="How checks use it",
        choices=PromptSetKind.choices,
        initial=PromptSetKind.CURATED,
        required=False,
        help_text="From a pool every check draws its prompts at random, and its result holds for "
        "the whole pool: take prompts of real use, and it holds for that. A set that was chosen "
        "by hand is asked as a whole, and shows nothing beyond itself.",
    )
    max_new_tokens = forms.IntegerField(
        label="Longest answer, in tokens",
        initial=ANSWER_TOKENS,
        required=False,
        min_value=1,
        max_value=ANSWER_TOKENS_MAX,
        help_text=f"What is longer is cut, and says so. {ANSWER_TOKENS} tokens are about a page.",
    )

    def clean_max_new_tokens(self) -> int:
        """What is usual, where nothing was said."""
        return self.cleaned_data["max_new_tokens"] or ANSWER_TOKENS

    def clean_kind(self) -> str:
        """Nothing chosen is the one that claims nothing."""
        return self.cleaned_data["kind"] or PromptSetKind.CURATED
