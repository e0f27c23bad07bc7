"""An example as tokens: which of them are learnt, and which only read. Needs no tokenizer."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Tokens start..end-1 of an example, all decision or all context."""

    start: int
    end: int
    is_decision: bool


@dataclass(frozen=True, kw_only=True)
class EncodedExample:
    """The tokens of one example and what they are for."""

    token_ids: list[int]
    segments: list[Segment]
    """In order, without gaps, alternating context and decision; they cover every token."""
    remarks: frozenset[str] = frozenset()
    """Keys of `corpus.notices.NOTICES` that the tokens show."""
    left_out: frozenset[int] = frozenset()
    """Places of decision tokens that are not learnt: they are read, as context is, and give no
    loss."""
    reasoning: tuple[tuple[int, int], ...] = ()
    """Tokens start..end-1 that are the assistant's reasoning, learnt or only read."""

    @property
    def decisions(self) -> list[Segment]:
        """The decisions that have something to learn, in order."""
        return [s for s in self.segments if s.is_decision and self.targets(s)]

    def targets(self, decision: Segment) -> list[int]:
        """Return the places of a decision's tokens that are learnt."""
        return [i for i in range(decision.start, decision.end) if i not in self.left_out]

    @property
    def decision_token_count(self) -> int:
        """Tokens that are learnt."""
        return sum(s.end - s.start for s in self.segments if s.is_decision) - len(self.left_out)

    @property
    def context_token_count(self) -> int:
        """Tokens that are only read."""
        return len(self.token_ids) - self.decision_token_count
