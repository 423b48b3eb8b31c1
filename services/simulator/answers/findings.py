"""Short strings found in a text: quotes, names, dates, sections, by what a property is called."""

import re
from functools import cached_property, lru_cache
from random import Random

from services.simulator.answers.prose import sentence

SHORTEST_QUOTE = 30
LONGEST_QUOTE = 300
SEARCHED = 20_000
EMPTY_SHARE = 0.3
"""Share of properties left empty whose description allows it."""

_ENDS = re.compile(r"(?<=[.;])\s+|\n{2,}")
_NAME = re.compile(
    r"\b(?:[A-Z][A-Za-z&.-]+ ){1,4}(?:Inc\.?|LLC|Ltd\.?|Corp(?:oration)?\.?|GmbH|Bank)"
)
_CAPITALISED = re.compile(r"\b[A-Z][a-z]{3,}(?: [A-Z][a-z]{2,})+")
_DATE = re.compile(
    r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December)"
    r" \d{1,2}, \d{4}|\b\d{4}-\d{2}-\d{2}|\b\d{1,2}/\d{1,2}/\d{2,4}"
)
_SECTION = re.compile(r"\b(?:Section|Article|Clause) \d+(?:\.\d+)*|(?m:^\s*\d+(?:\.\d+)+)")
_LAW = re.compile(r"laws? of (?:the )?((?:[A-Z][a-z]+(?: of)? ?)+)")
_PROPER = re.compile(r"\b[A-Z][a-z]{2,}\b(?=[?.,!]|$)")
_PARTIES = ("Supplier", "Customer", "Licensor", "Licensee")
_QUOTES = ("quote", "excerpt", "evidence", "passage", "citation", "snippet")
_PATTERNS: dict[str, tuple[re.Pattern[str], ...]] = {
    "date": (_DATE,),
    "section": (_SECTION,),
    "law": (_LAW,),
    "name": (_NAME, _CAPITALISED),
    "title": (_CAPITALISED,),
    "type": (_CAPITALISED,),
    "place": (_PROPER,),
    "city": (_PROPER,),
}
_FIXED = {"language": "en", "currency": "EUR", "country": "DE"}
_LABELS = ("intent", "label", "category", "topic")
_SIDES = {"role": _PARTIES, "party": _PARTIES, "favours": (*_PARTIES, "neutral")}


class Findings:
    """What one text holds."""

    def __init__(self, text: str, topics: list[str], random: Random) -> None:
        self._text = text
        self._topics = topics
        self._random = random
        self._found: dict[re.Pattern[str], list[str]] = {}

    def quote(self) -> str:
        """Return a sentence, letter by letter."""
        if self._sentences:
            return self._random.choice(self._sentences)
        return self._text.strip()[:LONGEST_QUOTE]

    def named(self, name: str, description: str) -> str:
        """Return a string for a property of this name."""
        kind = _kind(name)
        if kind in _FIXED:
            return _FIXED[kind]
        if kind in _LABELS:
            # Without given labels a model names the thing itself.
            return self._random.choice(self._topics).lower().replace(" ", "_")
        may_be_empty = "empty" in description
        if kind == "quote":
            return self.quote()
        if kind in _SIDES:
            return self._random.choice(_SIDES[kind])
        for pattern in _PATTERNS.get(kind, ()):
            found = self._any(pattern)
            if found:
                return found
        is_silent = kind in _PATTERNS or self._random.random() < EMPTY_SHARE
        return "" if may_be_empty and is_silent else sentence(self._topics, self._random)

    def matching(self, pattern: re.Pattern[str]) -> str | None:
        """Return a part of the text that a pattern accepts as a whole value."""
        found = pattern.search(self._text)
        return found.group() if found is not None and pattern.search(found.group()) else None

    @cached_property
    def _sentences(self) -> list[str]:
        parts = (part.strip() for part in _ENDS.split(self._text))
        # A tag around the material is the prompt's, not the text's.
        return [
            part
            for part in parts
            if SHORTEST_QUOTE <= len(part) <= LONGEST_QUOTE and "<" not in part
        ]

    def _any(self, pattern: re.Pattern[str]) -> str:
        found = self._found.get(pattern)
        if found is None:
            matches = pattern.finditer(self._text[:SEARCHED])
            found = [match.group(match.lastindex or 0).strip() for match in matches]
            self._found[pattern] = found
        return self._random.choice(found) if found else ""


@lru_cache(maxsize=4_096)
def _kind(name: str) -> str:
    lowered = name.lower()
    if any(part in lowered for part in _QUOTES):
        return "quote"
    return next((part for part in (*_FIXED, *_LABELS, *_PATTERNS, *_SIDES) if part in lowered), "")
