"""What the relay is configured with, beside what every process has (`runtime/settings.py`)."""

from datetime import timedelta

from pydantic import Field

from services.runtime.settings import Block, Settings
from sluice_contracts import RetryDelay


class HoldSettings(Block):
    """How delayed retries are held."""

    group_id: str = "sluice-relay"
    """Consumer group; its offsets are what has been put back."""
    delays: tuple[RetryDelay, ...] = tuple(RetryDelay)
    """Retry topics that this process serves (JSON list)."""
    records_ahead: int = Field(default=16, ge=1, le=256)
    """Records of one partition held in memory until they are due. The first one decides: the
    others, due after it, are there so that a commit carries several."""
    bytes_ahead: int = Field(default=268_435_456, ge=8_388_608)
    """Bytes of records held in memory, divided equally between the delays; when a delay's part is
    spent, its partitions wait for each other."""
    transaction_timeout: timedelta = timedelta(seconds=12)
    """After it the broker ends a transaction of a relay that died in the middle of it."""
    session_timeout: timedelta = timedelta(seconds=45)
    """Without a heartbeat for so long a relay's partitions go to others: how late records may be
    after one has died."""


class RelaySettings(Settings):
    """Everything the relay reads from the environment."""

    relay: HoldSettings = HoldSettings()
    """How delayed retries are held."""
