"""One secret value that cannot be printed by accident, and the forms it is stored in. No I/O."""

import hmac
import json
from hashlib import sha256
from typing import Any, Final, NoReturn

from services.runtime.redaction import remember

FIELD: Final = "api_key"
"""Where a secret is a JSON object, the field that holds the key."""


class SecretInvalid(ValueError):  # noqa: N818 -- a state of the stored value
    """The stored text holds no usable key; `str()` says what is wrong and never quotes it."""


class Secret:
    """A key and the version it came with; everything that prints it shows `key_id` instead.

    From its construction on, the value is masked in every log line of the process.
    """

    __slots__ = ("_value", "key_id", "version")

    def __init__(self, value: str, *, version: str) -> None:
        remember(value)
        self._value = value
        self.version: Final = version
        self.key_id: Final = sha256(value.encode()).hexdigest()[:8]
        """Names the key in logs and audit records; says nothing about its value."""

    def reveal(self) -> str:
        """Return the value; only at the moment of use."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret(key_id={self.key_id}, version={self.version})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self.key_id)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled or copied; pass the store and ask it")


def parse(text: str) -> str:
    """Return the key in a stored text: the bare text, or the field `api_key` of a JSON object.

    Raises:
        SecretInvalid: There is no key, or it cannot travel in an HTTP header.
    """
    key: Any = text.strip()
    if key.startswith("{"):
        try:
            key = json.loads(key)
        except json.JSONDecodeError:
            raise SecretInvalid("the secret starts like a JSON object and is none") from None
        if FIELD not in key:
            raise SecretInvalid(f"the secret is a JSON object without the field {FIELD!r}")
        key = key[FIELD]
    if not isinstance(key, str) or not key:
        raise SecretInvalid("the secret holds no key: it is empty or not a string")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise SecretInvalid("the secret's key holds blanks or characters that no header can carry")
    return key


def written_like(stored: str | None, key: str) -> str:
    """Return the text to store for a new key in the form of what is stored now."""
    if stored is not None and stored.lstrip().startswith("{"):
        return json.dumps(json.loads(stored) | {FIELD: key})
    return key
