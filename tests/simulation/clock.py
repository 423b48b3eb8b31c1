"""An event loop whose time is virtual: it jumps to the next timer instead of waiting for it."""

import asyncio
import selectors


class Stalled(Exception):  # noqa: N818 -- a finding
    """Nothing is left that could ever happen."""


class _NoWaiting(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled
        if timeout > 0:
            self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Deterministic: no sockets, no threads, no wall clock."""

    def __init__(self) -> None:
        self._virtual = _NoWaiting()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._virtual.now
