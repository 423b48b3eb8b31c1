"""What the engine may hold and how long it may wait; every timeout of the protocol stands here."""

from dataclasses import dataclass, field
from typing import Final

MOST_INCOMPLETE: Final = 1536
WIDEST_WINDOW: Final = 1_000_000
MOST_METADATA: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The engine's figures; durations in seconds. `docs/engine.md` names the owner of each."""

    in_flight: int = 2000
    """Calls of one topic running or about to run; parked records are not counted."""
    in_flight_bytes: int = 268_435_456
    """Bytes of records and unpublished outputs that one topic may hold."""
    incomplete: int = MOST_INCOMPLETE
    """Unfinished records of one partition, parked ones included. A larger one might not fit."""
    window: int = WIDEST_WINDOW
    """Offsets between the first unfinished and the last fetched record of a partition."""
    poll_records: int = 500
    """Records taken from the consumer at once."""
    gather_outcomes: int = 64
    """A busy process commits a partition once so many outcomes are ready."""
    gather: float = 0.075
    """A busy process commits a partition this long after its first ready outcome."""
    commits_per_second: float = 150.0
    """Commits the whole process aims at when many partitions are dirty."""
    commit_gap: float = 0.005
    """Between two commits of one producer: closer ones cost a 20 ms backoff in the client."""
    uncommitted: float = 2.0
    """Nothing more starts while an outcome has waited so long for its commit: while the brokers are
    away, answers must not pile up that a crash would make again."""
    commit_timeout: float = 15.0
    """For one transaction; longer than the transaction's own timeout, so the broker is first."""
    fence_timeout: float = 30.0
    """For initialising a producer, which waits for the end of every earlier transaction."""
    read_timeout: float = 10.0
    """For reading the committed offset and the log's bounds."""
    keepalive: float = 0.05
    """Between two polls while nothing can be taken; they keep the group membership."""
    retry_pause: float = 0.5
    """Before a failed fence or read is tried again."""
    settle: float = 0.4
    """Between two reads of what is committed that have to agree, where one is not to be trusted."""
    revoke_timeout: float = 2.0
    """For publishing what is ready while the group waits for this member."""
    hand_over_timeout: float = 120.0
    """For finishing the calls of a partition that another worker is to get."""
    hand_over_gather: float = 1.0
    """From the first partition that is drained to asking for the round that moves it: others may
    be drained by then, and each round stops the whole group for a moment."""
    condemn_after: int = 4
    """Crashes on trial, the last ones alone, after which a record is given up; 3 to 7."""
    ordered_topics: frozenset[str] = field(default=frozenset())
    """Topics whose records with the same key run one after the other."""

    def __post_init__(self) -> None:
        """Refuse what the offset map cannot hold."""
        if not 1 <= self.incomplete <= MOST_INCOMPLETE:
            message = (
                f"incomplete is {self.incomplete}; the offset map holds 1 to {MOST_INCOMPLETE}"
            )
            raise ValueError(message)
        if not 1 <= self.window <= WIDEST_WINDOW:
            raise ValueError(
                f"window is {self.window}; the offset map spans 1 to {WIDEST_WINDOW} offsets"
            )
        if not 3 <= self.condemn_after <= 7:  # noqa: PLR2004 -- three bits; alone is level 3
            raise ValueError(f"condemn_after is {self.condemn_after}; use 3 to 7")
