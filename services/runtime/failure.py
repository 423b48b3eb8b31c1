"""How a process fails: with one line that a person can act on, or, where it is our fault, fully."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_OURS: Final = ("services.", "sluice_contracts.")


class Misconfigured(Exception):  # noqa: N818 -- a state of the system around us
    """Something outside this process is not as it must be; `str()` says what, and the remedy."""


def explain(exc: BaseException) -> str | None:
    """Put an exception in one line for a person; None where it is a fault of ours.

    The errors of this project name the thing, the value and the remedy; those of Kafka's client and
    of the operating system get what they lack.
    """
    if isinstance(exc, BaseExceptionGroup):
        parts = [explain(one) for one in exc.exceptions]
        return None if None in parts else "; ".join(dict.fromkeys(str(part) for part in parts))
    kind = type(exc)
    if kind.__module__.startswith(_OURS):
        return str(exc)
    if kind.__module__.startswith("aiokafka."):
        return (
            f"Kafka: {exc or kind.__name__}; check KAFKA__BOOTSTRAP_SERVERS and the brokers, "
            "`sluice doctor` looks at both"
        )
    if isinstance(exc, OSError):
        return str(exc)
    return None


@contextmanager
def in_one_line() -> Iterator[None]:
    """End the process with exit code 1 and one line where that says it all."""
    try:
        yield
    except Exception as exc:
        said = explain(exc)
        if said is None:
            raise
        sys.exit(f"error: {said}")
