"""Uploaded held-out texts and prompts: files become documents and prompts, or a clear refusal."""

import re
from collections.abc import Iterator
from typing import Any

from django.core.files import File
from django.template.defaultfilters import filesizeformat

from corpus.jsontext import ExampleError, json_decode, text_check
from ftportal.datasets.services import DatasetError
from ftportal.datasets.uploads import TEXT_LIMIT_BYTES


def documents_read(file: File) -> list[str]:
    """The documents of an uploaded file. Raises DatasetError, naming the line.

    A name ending in .jsonl holds one {"text": "..."} a line; any other file is plain text, whose
    documents are parted by lines of three or more hyphens or, without any, by empty lines.
    """
    text = text_read(file)
    if (file.name or "").lower().endswith((".jsonl", ".ndjson")):
        return [_document(record, line) for line, record in _records(text)]
    if re.search(r"^[ \t]*-{3,}[ \t]*$", text, re.MULTILINE):
        parts = re.split(r"^[ \t]*-{3,}[ \t]*$", text, flags=re.MULTILINE)
    else:
        parts = re.split(r"\n[ \t]*\n", text)
    return [part.strip("\n") for part in parts if part.strip()]


def prompts_read(file: File) -> list[dict[str, Any]]:
    """The prompts of an uploaded JSONL file: {"group", "messages"} or {"group", "prompt"} a line.

    Raises DatasetError, naming the line.
    """
    prompts = []
    for line, record in _records(text_read(file)):
        if not isinstance(record, dict) or not ("messages" in record or "prompt" in record):
            raise DatasetError(
                f"Line {line} has neither messages nor prompt.",
                'Write {"group": "code", "messages": [...]} or {"group": "code", "prompt": "..."}.',
            )
        messages = record.get("messages") or [{"role": "user", "content": record.get("prompt")}]
        prompts.append({"group": record.get("group"), "messages": messages})
    return prompts


def text_read(file: File) -> str:
    """An uploaded file as text with line feeds. Raises DatasetError: too large, or no UTF-8."""
    if file.size > TEXT_LIMIT_BYTES:
        raise DatasetError(
            f"The file is larger than {filesizeformat(TEXT_LIMIT_BYTES)}.",
            "Take a sample of it: measuring more text takes long and shows little more.",
        )
    try:
        return file.read().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"The file is not UTF-8 text (byte {error.start + 1}).", "Save it as UTF-8."
        ) from error


def _records(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                record = json_decode(line)
                text_check("the record", [record])
                yield number, record
            except ExampleError as error:
                raise DatasetError(f"Line {number}: {error.message}.", error.cure) from error


def _document(record: Any, line: int) -> str:
    text = record.get("text") if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise DatasetError(f"Line {line} has no text.", 'Write {"text": "..."} on every line.')
    return text
