"""Where a lane is in its life."""

from enum import StrEnum


class Phase(StrEnum):
    """`claiming → open → draining → drained`; `halted` and `closed` end it from anywhere."""

    CLAIMING = "claiming"
    OPEN = "open"
    DRAINING = "draining"
    DRAINED = "drained"
    HALTED = "halted"
    CLOSED = "closed"
