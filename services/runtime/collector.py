"""Python's garbage collector, set for a service.

Much lives here as long as the process, and what is short-lived is freed by its reference count.
"""

import gc
from typing import Final

_THRESHOLDS: Final = (20_000, 20, 100)
"""Against 700, 10 and 10: with thousands of calls in flight each full collection walks all of them.
It was a fifth of a worker's CPU time (`make bench-engine`)."""


def settle() -> None:
    """Take everything made so far out of the collector's sight; call it once, when made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
