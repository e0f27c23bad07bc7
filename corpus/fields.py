"""What became of every field of a record: used, known to be harmless, empty, or not used.

Reading a record takes its fields out of `Fields` one by one; whatever is left at the end is named.
So no field is passed over in silence, and a test can hold fields in against fields out.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from corpus.jsontext import ExampleError, shown


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


RECORD_METADATA = _names("""
    id ids uuid _id idx index row_id example_id sample_id task_id instance_id problem_id
    prompt_id conversation_id session_id thread_id trace_id request_id response_id user_id trial
    source sources dataset dataset_name data_source origin subset split category categories topic
    topics domain task task_name task_type type kind object difficulty language lang locale
    tags title url urls license licence author annotator annotators contributor
    created created_at updated_at timestamp date time version revision hash sha256 md5
    model model_name model_id teacher generator finish_reason stop_reason usage token_count
    num_tokens n_tokens num_turns turns_count length metadata meta info extra environment
    temperature top_p top_k max_tokens max_completion_tokens seed stream n stop presence_penalty
    frequency_penalty parallel_tool_calls tool_choice function_call response_format cwd
    __index_level_0__
""")
"""Fields of a record that say where it comes from and change nothing of what is learnt."""

TURN_METADATA = _names("""
    id uuid index idx timestamp created created_at date time model model_name name author
    sender recipient type status stop_reason stop_sequence finish_reason usage token_count
    logprobs annotations citations refusal audio cache_control metadata meta extra
    agent thought action message_type
""")
"""Fields of a turn that change nothing of what is learnt."""

_IMAGE = ("only text can be trained on", "Leave such examples out, or take it out of the text.")
_IDS = ("the examples are token ids already", "Upload the text that they were made of.")
_REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(_names("image images image_url video videos audios pixel_values"), _IMAGE),
    **dict.fromkeys(_names("input_ids attention_mask token_ids"), _IDS),
    "labels": ("labels cannot be honoured here", "Mark the turns instead, or leave the field out."),
    "label": ("it says whether an answer is good", "Leave bad answers and this field out."),
    "rejected": ("it is an answer to avoid", "Write the good answer beside it as chosen."),
}
"""Fields that change what a record means and cannot be honoured: why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something about a record that is said, though the record can be used."""

    kind: str
    """A key of `corpus.notices.NOTICES`."""
    where: str
    """Such as "turn 3"."""
    detail: str = ""


@dataclass(kw_only=True)
class Account:
    """What became of the fields of one record, by path (`messages[].mood`)."""

    used: set[str] = field(default_factory=set)
    metadata: set[str] = field(default_factory=set)
    empty: set[str] = field(default_factory=set)
    unused: dict[str, str] = field(default_factory=dict)
    """With the value that was met first, shortened."""
    notices: list[Notice] = field(default_factory=list)

    def note(self, kind: str, where: str, detail: str = "") -> None:
        """Say something about the record."""
        self.notices.append(Notice(kind=kind, where=where, detail=detail))


class Fields:
    """The fields of one JSON object that nobody has taken yet."""

    def __init__(self, record: Mapping[str, Any], path: str, account: Account) -> None:
        """path: what stands before a field's name, such as "messages[]."."""
        self._left = dict(record)
        self._path = path
        self._account = account

    def __contains__(self, name: str) -> bool:
        return not is_empty(self._left.get(name))

    @property
    def names(self) -> Collection[str]:
        """The fields that nobody has taken yet."""
        return self._left.keys()

    def peek(self, name: str) -> Any:
        """Return a field's value without using it; None where there is none."""
        return self._left.get(name)

    def take(self, *names: str) -> Any:
        """Return the value of the first of these fields that has one, None without; it is used.

        Two of them with different values are refused: which one counts cannot be known.
        """
        present = [name for name in names if name in self._left]
        filled = [name for name in present if not is_empty(self._left[name])]
        chosen = filled[0] if filled else present[0] if present else None
        for other in filled[1:]:
            if self._left[other] != self._left[filled[0]]:
                raise ExampleError(
                    f"{self._path}{filled[0]} and {self._path}{other} say different things",
                    "Keep one of the two.",
                )
        value = None if chosen is None else self._left[chosen]
        for name in present:
            self._account.used.add(self._path + name)
            del self._left[name]
        return value

    def pass_over(self, *names: str) -> None:
        """Count fields as metadata: what they say is known from elsewhere."""
        for name in names:
            if name in self._left:
                del self._left[name]
                self._account.metadata.add(self._path + name)

    def close(self, metadata: frozenset[str]) -> None:
        """Name what is left; ExampleError where it changes the meaning of the record."""
        for name, value in self._left.items():
            path = self._path + name
            if is_empty(value):
                self._account.empty.add(path)
            elif name in _REFUSED:
                why, cure = _REFUSED[name]
                raise ExampleError(f"the field {path} ({shown(value)}): {why}", cure)
            elif name in metadata:
                self._account.metadata.add(path)
            else:
                self._account.unused.setdefault(path, shown(value))
        self._left = {}


def is_empty(value: Any) -> bool:
    """Whether a field says nothing: null, or an empty text, list or object."""
    return value is None or value in ("", [], {})
