"""What people write down about a thing: its name, a note, and tags that find it."""

from collections.abc import Callable

from django import forms
from django.contrib import messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

NOTE_CHARACTERS = 2000


class Described(models.Model):
    """A thing with a note and tags beside its name."""

    note = models.TextField(blank=True, help_text="what people should know about it")
    tags = models.CharField(max_length=200, blank=True, help_text="words, with commas between")

    class Meta:
        abstract = True

    @property
    def tag_list(self) -> list[str]:
        """Its tags, each once, in their order."""
        words = (word.strip() for word in self.tags.split(","))
        return list(dict.fromkeys(word for word in words if word))


class NameTakenError(Exception):
    """Another thing has that name already."""


class DescribeForm(forms.Form):
    """Name, note and tags."""

    name = forms.CharField(label="Name", max_length=120)
    note = forms.CharField(
        label="Note",
        required=False,
        max_length=NOTE_CHARACTERS,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="What people should know about it.",
    )
    tags = forms.CharField(
        label="Tags", required=False, max_length=200, help_text="Words, with commas between."
    )


def describe_page(
    request: HttpRequest, thing: Described, write: Callable[..., None], *, back: str
) -> HttpResponse:
    """The form for name, note and tags; `write(name=, note=, tags=)` is the app's service.

    back: address of the thing's own page.
    """
    initial = {field: getattr(thing, field) for field in ("name", "note", "tags")}
    title = str(thing)
    form = DescribeForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            write(**form.cleaned_data)
        except NameTakenError:
            form.add_error("name", "Another one has this name already: choose a different one.")
        else:
            messages.success(request, "Saved.")
            return redirect(back)
    context = {"form": form, "title": title, "back": back}
    status = 422 if form.errors else 200
    return render(request, "pages/describe.html", context, status=status)
