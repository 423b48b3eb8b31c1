"""Free ports for processes that cannot be asked which one they took."""

import secrets
import socket
from typing import Final

_RANGE: Final = range(20_000, 32_000)
"""Below the ranges from which Linux and macOS take ports of outgoing connections, so that a process
which is killed and started again finds its port still free."""


def free_ports(count: int) -> list[int]:
    """Pick ports of the loopback interface that nobody listens on."""
    found: set[int] = set()
    while len(found) < count:
        port = secrets.choice(_RANGE)
        if port not in found and _is_free(port):
            found.add(port)
    return list(found)


def free_port(preferred: int | None = None) -> int:
    """Take the port that others expect, where it is free, else any free one."""
    if preferred is not None and _is_free(preferred):
        return preferred
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
