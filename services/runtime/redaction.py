"""The one place that knows which texts must never be printed, and takes them out of any text.

Process-wide on purpose: a log line may come from any library, so what it must not hold cannot
depend on who was handed which object.
"""

import json
import re
from typing import Final

MASK: Final = "[secret]"
_PATTERNS: Final = {
    # What a text must hold, in lower case, before the pattern is worth its time: most lines hold
    # none of these, and a line is written for every call.
    "sk-ant-": re.compile(r"sk-ant-[A-Za-z0-9_\-]+"),
    "bearer ": re.compile(r"(?i:(?<=bearer ))[A-Za-z0-9_\-.~+/=]{8,}"),
    "x-api-key": re.compile(r"(?i:(?<=x-api-key: )|(?<=x-api-key': '))[A-Za-z0-9_\-.~+/=]{8,}"),
    "aws_secret_access_key=": re.compile(r"(?<=AWS_SECRET_ACCESS_KEY=)\S+"),
}
_SHORTEST: Final = 6
"""A shorter text is no secret, and masking it would tear ordinary words apart."""

_known: dict[str, None] = {}


def remember(secret: str) -> None:
    """Mask this text, raw or escaped as Python and JSON do, in all that is printed from now on."""
    if len(secret) >= _SHORTEST:
        shown = repr(secret)[1:-1]
        for form in (secret, shown, json.dumps(secret)[1:-1], json.dumps(shown)[1:-1]):
            _known[form] = None


def mask(text: str) -> str:
    """Return the text with every known secret and everything that looks like a key replaced."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, MASK)
    lowered = text.lower()
    for sign, pattern in _PATTERNS.items():
        if sign in lowered:
            text = pattern.sub(MASK, text)
    return text
