"""Secrets and personal data in a text: keys, e-mail addresses, card and telephone numbers.

Keys are found by detect-secrets' detectors of known forms; those that go by entropy are left out,
for they take every hash for a password. The rest are patterns with a check behind them (Luhn's for
cards), since a false alarm on every order number teaches people to look away.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from corpus.examples import Example, Turn

KINDS = {
    "secret": "a key or password",
    "email": "an e-mail address",
    "card": "a card number",
    "phone": "a telephone number",
}
"""Kinds of finds, in words."""
_DETECTORS = (
    *("aws.AWSKeyDetector", "azure_storage_key.AzureStorageKeyDetector", "jwt.JwtTokenDetector"),
    *("github_token.GitHubTokenDetector", "gitlab_token.GitLabTokenDetector", "npm.NpmDetector"),
    *("openai.OpenAIDetector", "private_key.PrivateKeyDetector", "pypi_token.PypiTokenDetector"),
    *("sendgrid.SendGridDetector", "slack.SlackDetector", "stripe.StripeDetector"),
    *("square_oauth.SquareOAuthDetector", "telegram_token.TelegramBotTokenDetector"),
    *("twilio.TwilioKeyDetector", "discord.DiscordBotTokenDetector"),
    "basic_auth.BasicAuthDetector",
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[A-Za-z]{2,24}(?![\w-])")
_EXAMPLE_HOSTS = re.compile(r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|[\w-]+\.(?:test|invalid))$")
_CARD = re.compile(r"(?<![\d.-])(?:\d[ -]?){12,18}\d(?![.-]?\d|\s\d)")
_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,3}[ ./-]?(?:\(\d{1,4}\)[ ./-]?)?(?:\d{2,5}[ ./-]?){2,4}\d{2,4}"
    r"|\(\d{3}\) ?\d{3}-\d{4})(?![\w-])"
)


@dataclass(frozen=True, kw_only=True)
class Find:
    """Characters start..end-1 of a text, and what they are."""

    kind: str
    """One of KINDS."""
    start: int
    end: int


@cache
def _secret_patterns() -> tuple[re.Pattern[str], ...]:
    from importlib import import_module

    patterns: list[re.Pattern[str]] = []
    for name in _DETECTORS:
        module, _, detector = name.partition(".")
        detector_class: Any = getattr(import_module(f"detect_secrets.plugins.{module}"), detector)
        patterns += detector_class.denylist
    return tuple(patterns)


def finds_in(text: str) -> list[Find]:
    """Secrets and personal data in a text, in order, none within another."""
    candidates = [*_secrets(text), *_emails(text), *_cards(text), *_phones(text)]
    kept: list[Find] = []
    for one in sorted(candidates, key=lambda find: (find.start, -find.end)):
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return kept


def _secrets(text: str) -> Iterator[Find]:
    for pattern in _secret_patterns():
        for match in pattern.finditer(text):
            yield Find(kind="secret", start=match.start(), end=match.end())


def _emails(text: str) -> Iterator[Find]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            if not _EXAMPLE_HOSTS.search(match[0]):
                yield Find(kind="email", start=match.start(), end=match.end())


def _cards(text: str) -> Iterator[Find]:
    for match in _CARD.finditer(text):
        digits = [int(sign) for sign in match[0] if sign.isdigit()]
        if digits[0] in (3, 4, 5, 6) and len(set(digits)) > 1 and _luhn(digits):
            yield Find(kind="card", start=match.start(), end=match.end())


def _luhn(digits: list[int]) -> bool:
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0


def _phones(text: str) -> Iterator[Find]:
    for match in _PHONE.finditer(text):
        if 9 <= sum(sign.isdigit() for sign in match[0]) <= 15:
            yield Find(kind="phone", start=match.start(), end=match.end())


def redacted(text: str) -> str:
    """The text with every find replaced by its kind, such as [e-mail]."""
    parts, at = [], 0
    for find in finds_in(text):
        parts += [text[at : find.start], f"[{find.kind}]"]
        at = find.end
    return "".join([*parts, text[at:]])


def example_redact(example: Example) -> Example:
    """The example with every text of it redacted, arguments of tool calls too."""
    return replace(example, turns=tuple(_turn_redact(turn) for turn in example.turns))


def _turn_redact(turn: Turn) -> Turn:
    calls = tuple(replace(call, arguments=_value(call.arguments)) for call in turn.tool_calls)
    reasoning = None if turn.reasoning is None else redacted(turn.reasoning)
    return replace(turn, content=redacted(turn.content), reasoning=reasoning, tool_calls=calls)


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {name: _value(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_value(one) for one in value]
    return value
