"""What a request asks for, read without understanding: text, words, labels, tools."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from services.simulator.tokens import blocks_of

READ_CHARACTERS = 60_000
"""Only so much of a text is looked at: a contract of 150 pages must stay cheap."""

_WORD = re.compile(r"[a-z0-9]+")
_LISTED = re.compile(
    r"^\s*(?:[-*•]|\d+[.)])\s+[`'\"*]*([A-Za-z][\w /&-]{1,48}?)[`'\"*]*\s*(?:[:(\u2013\u2014]|$)",
    re.MULTILINE,
)
_ONE_OF = re.compile(
    r"(?:one of|labels?|categor(?:y|ies)|intents?|classes)[^:\n]{0,60}:\s*([^\n]{3,4000})",
    re.IGNORECASE,
)
_ASKS_FOR_LABEL = re.compile(r"\b(classif|categor|label|intent|triage)", re.IGNORECASE)
_STOP_WORDS = frozenset(
    [
        *("a", "an", "and", "any", "are", "as", "at", "be", "by", "can", "do", "does", "for"),
        *("from", "has", "have", "how", "i", "if", "in", "is", "it", "its", "me", "my", "no"),
        *("not", "of", "on", "or", "our", "so", "that", "the", "their", "there", "they", "this"),
        *("to", "was", "we", "what", "when", "which", "who", "why", "will", "with", "you", "your"),
    ]
)
_ENDINGS = ("ing", "ed", "es", "s")
_SHORTEST_STEM = 3
_STEM = 5  # "stolen" and "stole", "arrival" and "arrived"
_LONGEST_LABEL = 60


def user_text(body: dict[str, Any]) -> str:
    """Return the text of the last user message that has any."""
    for message in reversed(body.get("messages", [])):
        if message.get("role") == "user":
            text = joined_text(message.get("content"))
            if text:
                return text[:READ_CHARACTERS]
    return ""


def system_text(body: dict[str, Any]) -> str:
    """Return the text of the system prompt."""
    return joined_text(body.get("system"))[:READ_CHARACTERS]


def joined_text(content: Any) -> str:
    """Return the text blocks of a content, and text inside tool results and documents."""
    parts = []
    for block in blocks_of(content):
        if isinstance(block, str):
            parts.append(block)
        elif block.get("type") == "text":
            parts.append(block.get("text", ""))
        elif block.get("type") == "document" and block.get("source", {}).get("type") == "text":
            parts.append(block["source"].get("data", ""))
    return "\n".join(parts)


def words(text: str) -> set[str]:
    """Return the words of a text that carry meaning, without plural endings."""
    return {_stem(word) for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS}


def closest(options: Iterable[str], text_words: set[str], tie: float) -> str:
    """Return the option that shares most words with a text; ties are broken by `tie` in 0..1."""
    scored = [(_overlap(option, text_words), option) for option in options]
    best = max(score for score, _ in scored)
    winners = [option for score, option in scored if score == best]
    return winners[int(tie * len(winners)) % len(winners)]


def offered_labels(body: dict[str, Any]) -> tuple[str, ...]:
    """Return the labels that a request offers, when it asks for one; else nothing."""
    return _labels_in(system_text(body)) or _labels_in(user_text(body))


@lru_cache(maxsize=512)
def _labels_in(text: str) -> tuple[str, ...]:
    if not _ASKS_FOR_LABEL.search(text):
        return ()
    listed = [match.strip() for match in _LISTED.findall(text)]
    if len(listed) > 1:
        return tuple(listed)
    for line in _ONE_OF.findall(text):
        parts = (part.strip(" .`'\"*") for part in re.split(r"[,;|]| or ", line))
        labels = [label for label in parts if label and len(label) <= _LONGEST_LABEL]
        if len(labels) > 1:
            return tuple(labels)
    return ()


def offered_tools(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tools with an input schema, those added by system messages included."""
    tools = list(body.get("tools") or [])
    for message in body.get("messages", []):
        if message.get("role") == "system" and isinstance(message.get("content"), list):
            tools += [
                block.get("tool", {}).get("definition", {})
                for block in message["content"]
                if block.get("type") == "tool_addition"
            ]
    return [tool for tool in tools if isinstance(tool.get("input_schema"), dict)]


def _overlap(option: str, text_words: set[str]) -> float:
    own = _option_words(option)
    return len(own & text_words) / (len(own) ** 0.5) if own else 0.0


@lru_cache(maxsize=8_192)
def _option_words(option: str) -> frozenset[str]:
    return frozenset(words(option.replace("_", " ").replace("-", " ")))


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)][:_STEM]
    return word[:_STEM]
