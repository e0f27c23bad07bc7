"""Forms of how a model is asked."""

import json
from typing import Any

from django import forms

from corpus.template_arguments import arguments_check
from engine.checks import ConfigError
from ftportal.checkpoints.models import ANSWER_TOKENS_MAX, LanguageModel

_CHARACTERS = 2000


class TemplateArgumentsField(forms.CharField):
    """An object of a chat template's arguments in JSON; {} where nothing is written."""

    widget = forms.Textarea

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, max_length=2000, **options)
        self.widget.attrs |= {"rows": 2, "spellcheck": "false"}

    def prepare_value(self, value: Any) -> Any:
        """Show what is in force as it is written."""
        return (json.dumps(value) if value else "") if isinstance(value, dict) else value

    def clean(self, value: Any) -> Any:
        """Return the object; what is wrong is said of the field."""
        written = super().clean(value)
        try:
            arguments = json.loads(written or "{}")
            arguments_check(arguments)
        except (ValueError, RecursionError):  # lists in lists in lists, or a very long number
            message = 'This is not JSON. Write an object, such as {"enable_thinking": false}.'
            raise forms.ValidationError(message) from None
        except ConfigError as error:
            message = f"{error.where}: {error.message}. {error.cure}"
            raise forms.ValidationError(message.removeprefix("template_arguments.")) from error
        return arguments


class AskingForm(forms.Form):
    """What a model's template is given, and how long its answers may be."""

    template_arguments = TemplateArgumentsField(label="Template arguments")
    answer_tokens = forms.IntegerField(
        label="Longest answer, in tokens",
        required=False,
        min_value=1,
        max_value=ANSWER_TOKENS_MAX,
    )

    def __init__(self, data: Any = None, *, model: LanguageModel) -> None:
        """Begin with what is in force."""
        initial = {
            "template_arguments": model.template_arguments,
            "answer_tokens": model.answer_tokens,
        }
        super().__init__(data, initial=initial)
