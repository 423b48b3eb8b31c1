"""The organisation's API keys: which are valid, and which workspace each belongs to.

Keys can be added and revoked while the simulator runs. If a request carries both `x-api-key` and
`Authorization`, the first wins, as third parties report of the API.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from services.simulator.errors import invalid, unauthorised

DEFAULT_WORKSPACE = "wrkspc_01SimulatorDefault000000"


@dataclass(frozen=True, slots=True)
class Key:
    """A valid key; never shows its value."""

    id: str
    """The first eight hexadecimal digits of the key's sha256."""
    workspace: str = DEFAULT_WORKSPACE


def key_id(value: str) -> str:
    """Return how logs name a key."""
    return hashlib.sha256(value.encode()).hexdigest()[:8]


class Keys:
    """Every key that is valid now."""

    def __init__(self, values: Iterable[str], admin_key: str) -> None:
        self._keys = {value: Key(key_id(value)) for value in values}
        self._admin_key = admin_key

    def add(self, value: str, workspace: str = DEFAULT_WORKSPACE) -> Key:
        """Make a key valid."""
        key = self._keys[value] = Key(key_id(value), workspace)
        return key

    def revoke(self, value: str) -> bool:
        """Make a key, named by itself or by its id, invalid; say whether it was valid."""
        for known in tuple(self._keys):
            if value in (known, self._keys[known].id):
                del self._keys[known]
                return True
        return False

    def valid(self) -> list[Key]:
        """Return the valid keys."""
        return list(self._keys.values())

    def authenticate(self, headers: dict[str, str]) -> Key:
        """Return the key of a request, or raise the API's 401."""
        key = self._keys.get(presented(headers))
        if key is None:
            raise unauthorised()
        if "anthropic-version" not in headers:
            raise invalid("anthropic-version: header is required")
        return key

    def authenticate_admin(self, headers: dict[str, str]) -> Key:
        """Return the admin's key, or raise the API's 401."""
        if presented(headers) != self._admin_key:
            raise unauthorised()
        return Key(key_id(self._admin_key))


def presented(headers: dict[str, str]) -> str:
    """Return the key that a request presents, or an empty string."""
    plain = headers.get("x-api-key")
    if plain is not None:
        return plain
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" else ""
