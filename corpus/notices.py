"""What is said of examples that can be used: in words, with the cure, and whether it is asked."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NoticeKind:
    """One thing that readers of a batch should know."""

    title: str
    """As a heading over the rows that have it."""
    cure: str
    """What it means, and what to do about it."""
    is_asked: bool
    """Whether a person must have seen it before the batch is ready."""


NOTICES: dict[str, NoticeKind] = {
    "result_without_call": NoticeKind(
        title="A tool's result without a call",
        cure="The model reads an output that nothing asked for. Add the call, or take it out.",
        is_asked=True,
    ),
    "call_without_result": NoticeKind(
        title="A tool call without a result",
        cure="The conversation goes on as if nothing had been called. Add the tool's turn.",
        is_asked=True,
    ),
    "unknown_call_id": NoticeKind(
        title="A tool's result with the id of no call",
        cure="Give the result the id of the call that it answers.",
        is_asked=True,
    ),
    "tool_not_offered": NoticeKind(
        title="A call of a tool that is not offered",
        cure="Add the tool to tools, or the model learns to call what it was not given.",
        is_asked=True,
    ),
    "arguments_not_object": NoticeKind(
        title="Arguments of a tool call that are not a JSON object",
        cure="Write the arguments as an object. Such a call is only read, never learnt.",
        is_asked=True,
    ),
    "reasoning_unused": NoticeKind(
        title="Reasoning that is not used",
        cure="The model's chat template has no place for it. Write it into the text, inside "
        "<think> and </think>, if it is to be learnt.",
        is_asked=True,
    ),
    "no_reasoning": NoticeKind(
        title="An answer without reasoning, where the chat template writes empty reasoning",
        cure="The empty reasoning is read and not learnt, or the model would learn to close its "
        "thinking at once.",
        is_asked=False,
    ),
    "empty_reasoning_learnt": NoticeKind(
        title="An answer without reasoning: the empty reasoning before it is learnt",
        cure="As was chosen for this batch: the model learns to close its thinking at once, and "
        "may come to answer other questions without thinking too.",
        is_asked=False,
    ),
    "unfolded": NoticeKind(
        title="A conversation is learnt as it stands at each of its answers",
        cure="The model's chat template writes an answer otherwise once more follows: most leave "
        "its reasoning out. So the conversation is an example for each answer that changes, as the "
        "model will write it, and what stands before is read once for each.",
        is_asked=False,
    ),
    "rejected_unused": NoticeKind(
        title="Preference data: the chosen answers are learnt",
        cure="The rejected answers are not used: the model learns what to say, not what to avoid.",
        is_asked=False,
    ),
    "null_argument": NoticeKind(
        title="An argument that is null is left out",
        cure="Chat templates would write the word None.",
        is_asked=False,
    ),
    "results_reordered": NoticeKind(
        title="Tool results are put in the order of their calls",
        cure="They are told apart by their ids.",
        is_asked=False,
    ),
    "control_tokens": NoticeKind(
        title="Control tokens inside a turn's text are read as plain text",
        cure="They cannot end a turn or begin one.",
        is_asked=False,
    ),
    "no_end_of_turn": NoticeKind(
        title="A decision without an end-of-turn token",
        cure="The chat template writes none here, so the model does not learn where to stop.",
        is_asked=False,
    ),
    "whole_text": NoticeKind(
        title="Plain text: every token is learnt",
        cure="There are no turns in it, so nothing is only read.",
        is_asked=False,
    ),
    "log_lines": NoticeKind(
        title="Lines of a session log that are not part of the conversation",
        cure="Summaries, snapshots and the like are not learnt.",
        is_asked=False,
    ),
    "log_branch": NoticeKind(
        title="Turns of a session that were taken back",
        cure="Only the branch that ends last is learnt.",
        is_asked=False,
    ),
}
