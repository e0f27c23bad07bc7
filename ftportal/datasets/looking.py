"""A look at the first bytes of a file while its upload form is still open."""

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from corpus.examples import DECISION_RULES
from corpus.formats import FORMATS, LeftOutError, Reading, UnknownFormatError, record_parse
from corpus.formats.preference import PreferenceError
from corpus.ingestion.tally import Tally
from corpus.jsontext import ExampleError
from corpus.records import FileError, records_read

LOOK_BYTES = 4 << 20
"""What the browser sends of a file."""
_RECORDS_MAX = 2000


@dataclass(kw_only=True)
class Seen:
    """What the beginning of a file holds."""

    is_whole: bool
    """Whether that is all of the file."""
    problem: str = ""
    """What is wrong with the file as a whole."""
    tally: Tally = field(default_factory=Tally)
    asks_columns: bool = False
    first_problems: list[tuple[int, str]] = field(default_factory=list)

    @property
    def formats(self) -> list[str]:
        """What was recognised, in words, the commonest first."""
        return [FORMATS[name] for name, _ in self.tally.formats.most_common()]

    @property
    def unused(self) -> list[str]:
        """Fields that would not be used."""
        return [path for path, _ in Counter(self.tally.unused).most_common()]

    @property
    def rules(self) -> dict[str, tuple[int, int]]:
        """What each decision rule would learn: decisions, and tool calls among them."""
        tally = self.tally
        return {rule: (tally.decisions[rule], tally.calls_learnt[rule]) for rule in DECISION_RULES}

    @property
    def common_last(self) -> int:
        """In how many examples the commonest last decision stands; 0 where it says nothing."""
        commonest = self.tally.last_decisions.most_common(1)
        count = commonest[0][1] if commonest else 0
        return count if count > max(2, self.tally.example_count // 20) else 0


def look_at(data: bytes, *, filename: str, is_whole: bool) -> Seen:
    """Read what is there of a file; its last record may be torn, and says nothing then."""
    seen = Seen(is_whole=is_whole)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            _read(Path(file.name), filename, seen)
        except FileError as error:
            if is_whole or not (seen.tally.example_count or seen.tally.unknown_count):
                seen.problem = f"{error.message}. {error.cure}"
    seen.asks_columns = not seen.tally.example_count and bool(seen.tally.unknown_count)
    return seen


def _read(path: Path, filename: str, seen: Seen) -> None:
    problems: list[tuple[int, str]] = []
    records = records_read(path, max_record_bytes=LOOK_BYTES, filename=filename)
    for _, record in zip(range(_RECORDS_MAX), records, strict=False):
        try:
            value = record.value()
            parsed = record_parse(value, Reading(preference="chosen"))
        except UnknownFormatError:
            seen.tally.unknown_add(value)
        except (PreferenceError, LeftOutError):
            continue
        except ExampleError as error:
            problems.append((record.line, error.message))
        else:
            seen.tally.example_add(parsed.example, parsed.example.format)
            seen.tally.account_add(parsed.account, record.line)
    if problems and not seen.is_whole:
        problems.pop()  # it may be torn
    seen.first_problems = problems[:3]
