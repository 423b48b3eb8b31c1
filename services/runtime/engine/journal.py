"""What an owner of a partition commits beside its outcomes: its progress, signed and counted."""

import secrets
from collections.abc import Mapping
from typing import Final

from services.runtime.engine import metadata
from services.runtime.engine.ledger import Snapshot
from services.runtime.engine.metadata import Progress
from services.runtime.engine.ports import Committed, Partition
from services.runtime.engine.suspicion import Suspicion


class Journal:
    """Writes the entries of one owner of one partition; they are numbered as they land."""

    def __init__(self, group: str, partition: Partition) -> None:
        self._place: Final = metadata.identity(group, partition)
        self.owner: Final = secrets.token_bytes(8)
        """By which an entry is known to be this owner's."""
        self._landed = 0

    def entry(
        self,
        snapshot: Snapshot,
        suspicion: Suspicion,
        attempts: Mapping[int, int],
        *,
        is_clean: bool,
    ) -> Committed:
        """Write the next entry; a clean one says that nothing was in flight."""
        suspicion.is_stale = False
        progress = Progress(
            snapshot=snapshot,
            owner=self.owner,
            sequence=self._landed + 1,
            clean=is_clean,
            mode=suspicion.mode,
            boundary=suspicion.boundary,
            attempts=attempts,
            levels=suspicion.levels_in_peace if is_clean else suspicion.levels,
        )
        return metadata.encode(progress, self._place)

    def landed(self) -> None:
        """Note that the entry was committed: the next one has another number."""
        self._landed += 1
