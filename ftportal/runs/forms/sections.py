"""Parts of the run form that stay folded until something in them matters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.forms.boundfield import BoundField


@dataclass(frozen=True, kw_only=True)
class Section:
    """One folded part: its title, its fields and what they hold where nobody changed them."""

    title: str
    fields: Sequence[str]
    """Names of the form's fields, in the order in which they are shown."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """A field that is left out begins empty; what can be called gives the value when asked."""
    lead: str = ""
    """A sentence above the fields."""


@dataclass(frozen=True, kw_only=True)
class BoundSection:
    """A section of one form."""

    title: str
    lead: str
    fields: Sequence[BoundField]
    is_open: bool
    """Whether folding it would hide something: an error or an unusual value."""


def section_bind(section: Section, form: forms.Form) -> BoundSection:
    """The section with the fields of this form."""
    fields = [form[name] for name in section.fields]
    return BoundSection(
        title=section.title,
        lead=section.lead,
        fields=fields,
        is_open=any(_is_unusual(one, section.defaults.get(one.name, "")) for one in fields),
    )


def _is_unusual(bound: BoundField, default: Any) -> bool:
    shown = bound.value()
    default = default() if callable(default) else default
    if isinstance(bound.field, forms.BooleanField):
        return bool(bound.errors) or bool(shown) != bool(default)
    return bool(bound.errors) or str("" if shown is None else shown) != str(default)
