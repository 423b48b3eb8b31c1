"""Whether a partition is this process's: the group says so, and the log has seen nobody else."""

import asyncio

import pytest

from services.runtime.engine.ledger import Snapshot
from services.runtime.engine.limits import Limits
from services.runtime.engine.metadata import Progress, encode, identity
from services.runtime.engine.ports import Committed, Indeterminate, Partition
from services.runtime.engine.tenure import Tenure

pytestmark = pytest.mark.looptime

PARTITION = Partition("in", 0)
OURS, THEIRS = b"ours....", b"theirs.."


class Log:
    """Answers membership and offsets as scripted; the last answer is given for ever."""

    def __init__(
        self,
        *,
        member: tuple[bool | Exception, ...] = (True,),
        committed: tuple[Committed | Exception, ...] = (),
    ) -> None:
        self._member = list(member)
        self._committed = list(committed)
        self.asked = 0

    async def is_member(self) -> bool:
        """Answer the next."""
        self.asked += 1
        answer = self._member.pop(0) if len(self._member) > 1 else self._member[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def committed(self, partition: Partition) -> Committed:
        """Answer the next."""
        assert partition == PARTITION
        answer = self._committed.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _tenure(log: Log) -> Tenure:
    return Tenure(PARTITION, group="group", log=log, limits=Limits())  # type: ignore[arg-type]


def _by(owner: bytes, sequence: int) -> Committed:
    progress = Progress(Snapshot(5, 5, ()), owner=owner, sequence=sequence)
    return encode(progress, identity("group", PARTITION))


async def test_nobody_claims_before_the_coordinator_knows_it() -> None:
    """A process that was away is no member any more, and must not fence its successor."""
    log = Log(member=(Indeterminate("away"), False, True))
    assert await _tenure(log).may_claim()
    assert log.asked == 3


async def test_nobody_claims_what_is_being_shared_out() -> None:
    """The claim waits until the group has decided."""
    log = Log()
    tenure = _tenure(log)
    tenure.suspend()
    claiming = asyncio.create_task(tenure.may_claim())
    await asyncio.sleep(60)
    assert log.asked == 0
    tenure.resume()
    assert await claiming


async def test_a_partition_that_was_let_go_is_not_claimed() -> None:
    """Even if it is assigned."""
    tenure = _tenure(Log())
    tenure.is_over = True
    assert not await tenure.may_claim()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (_by(OURS, 7), True),
        (_by(OURS, 6), True),
        (Committed(-1, ""), True),
        (_by(THEIRS, 8), False),
        (Committed(5, ""), False),
    ],
    ids=["last", "older own", "as in the beginning", "somebody else's", "an operator's"],
)
async def test_calls_are_kept_unless_somebody_else_has_committed(
    found: Committed, *, expected: bool
) -> None:
    """Views of the offset topic that lag behind are no sign of anybody."""
    tenure = _tenure(Log(committed=(Indeterminate("away"), found)))
    tenure.suspend()
    tenure.resume()
    assert not tenure.is_certain
    assert tenure.may_prove
    known = (Committed(-1, ""), _by(OURS, 7))
    assert await tenure.is_unchanged(known, OURS) is expected
    assert tenure.is_certain is expected


async def test_a_proof_is_worth_nothing_after_the_next_rebalance() -> None:
    """Somebody else may have had the partition while the offset topic was being read."""
    first = _by(OURS, 1)
    tenure: Tenure

    class Rebalanced(Log):
        async def committed(self, partition: Partition) -> Committed:
            tenure.suspend()
            tenure.resume()
            return await super().committed(partition)

    tenure = _tenure(Rebalanced(committed=(first, first)))
    tenure.resume()
    assert await tenure.is_unchanged((first,), OURS)
    assert not tenure.is_certain
