"""How templates read an answer: `{% load reading %}`."""

from django import template

from ftportal.reviews.judging.reading import Read, read
from ftportal.reviews.models import Generation

register = template.Library()


@register.filter
def reading(answer: Generation) -> Read:
    """An answer laid out, its reasoning apart."""
    return read(answer)
