"""Plans and their states on `claude.replays.v1`: one compacted record a plan.

A state is changed by comparing and setting: the change's producer is named after the plan, so
whoever initialises it later fences whoever decided on an older view.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Final

import structlog
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata
from pydantic import ValidationError

from services.ops.audit import action_audited
from services.ops.failure import CommandFailed
from services.ops.replay.plan import Handled, Plan
from services.ops.replay.standing import Phase, Standing
from services.runtime.engine.ports import Fenced, Indeterminate, Output, Partition
from services.runtime.kafka import KafkaTransactions
from services.runtime.reading import Options, scan
from sluice_contracts import TopicNames
from sluice_contracts import headers as h
from sluice_contracts.topics import CARRIED_BYTES, REPLAY_TYPE

log = structlog.get_logger(__name__)
_TRIES: Final = 5
_COORDINATOR_TRIES: Final = 20
_COORDINATOR_PAUSE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition of a plan is: the metadata of its group's offset.

    Records are handled in the order of the log, so the offset alone says which are done; the
    counts are for people.
    """

    offset: int
    _: KW_ONLY
    sent: int = 0
    refused: int = 0
    owner: str = ""
    """Drawn anew by each run, so that a commit is known as one's own."""

    @classmethod
    def read(cls, committed: OffsetAndMetadata) -> "Progress":
        """Read a group's offset."""
        try:
            said = json.loads(committed.metadata or "{}")
        except ValueError:
            said = {}
        return cls(
            committed.offset,
            sent=said.get("sent", 0),
            refused=said.get("refused", 0),
            owner=said.get("owner", ""),
        )

    @property
    def metadata(self) -> str:
        """The counts as the offset's metadata."""
        return json.dumps({"sent": self.sent, "refused": self.refused, "owner": self.owner})


class Plans:
    """Reads and changes the plans of a system.

    Args:
        options: How to connect.
        names: Topic names.
    """

    def __init__(self, options: Options, names: TopicNames) -> None:
        self.options: Final = options
        self.names: Final = names

    async def all(self) -> dict[str, Standing]:
        """Read every plan, the oldest first."""
        found: dict[str, Standing] = {}
        async for _, records in scan(self.options, [self.names.replays]):
            for record in records:
                standing = read_standing(record)
                if standing is not None:
                    found[standing.plan.plan_id] = standing
        return dict(sorted(found.items()))

    async def get(self, plan_id: str) -> Standing:
        """Read one plan, by its id or a beginning of it that only it has.

        Raises:
            CommandFailed: There is no such plan, or there are several.
        """
        plans = await self.all()
        if plan_id in plans:
            return plans[plan_id]
        fitting = [each for each in plans if each.startswith(plan_id)]
        if len(fitting) != 1:
            problem = f"fits {', '.join(fitting)}" if fitting else "is unknown"
            raise CommandFailed(f"replay plan {plan_id!r} {problem}; see `sluice replay status`")
        return plans[fitting[0]]

    async def create(self, standing: Standing) -> None:
        """Write a new plan."""
        await self.change(standing.plan.plan_id, lambda _: standing)

    async def change(
        self, plan_id: str, decide: Callable[[Standing | None], Standing | None]
    ) -> Standing | None:
        """Read a plan, decide on it, and write the decision if nobody else did meanwhile.

        Args:
            plan_id: Of the plan.
            decide: Returns what to write, None to leave it; is asked again after a conflict.
        """
        transactions = KafkaTransactions(
            dict(self.options), group=f"replay-state-{plan_id}", largest_output=CARRIED_BYTES
        )
        for _ in range(_TRIES):
            producer = await transactions.fence(Partition(self.names.replays, 0))
            try:
                before = (await self.all()).get(plan_id)
                after = decide(before)
                if after is None or after == before:
                    return before
                await producer.begin()
                await (await producer.send(self._record(after)))
                if before is None or before.version != after.version:
                    await (await producer.send(self._audit(before, after)))
                await producer.commit()
            except (Fenced, Indeterminate) as exc:
                log.info("plan.change_repeated", plan_id=plan_id, reason=repr(exc))
                await asyncio.sleep(0.1)
            else:
                return after
            finally:
                await producer.close()
        raise CommandFailed(f"plan {plan_id} is being changed by others all the time; try again")

    async def progress(self, plan: Plan) -> dict[TopicPartition, Progress]:
        """Read how far each partition of a plan is; those not begun are left out."""
        admin = AIOKafkaAdminClient(**self.options)
        await admin.start()
        try:
            offsets = await _group_offsets(admin, plan.group)
        finally:
            await admin.close()
        return {
            TopicPartition(*tp): Progress.read(committed)
            for tp, committed in offsets.items()
            if committed.offset >= 0
        }

    async def handled(self, now: datetime) -> list[Handled]:
        """Say what all plans together have dealt with, or are about to."""
        found = []
        for standing in (await self.all()).values():
            offsets = {}
            if standing.phase in {Phase.PAUSED, Phase.CANCELLED} and standing.reached is None:
                progress = await self.progress(standing.plan)
                offsets = {tp: at.offset for tp, at in progress.items()}
            handled = standing.as_handled(offsets, now=now)
            if handled is not None:
                found.append(handled)
        return found

    def _record(self, standing: Standing) -> Output:
        plan_id = standing.plan.plan_id
        headers = (
            (h.CE_ID, f"{plan_id}.{standing.changed_at.isoformat()}".encode()),
            (h.CE_TYPE, REPLAY_TYPE.encode()),
            (h.CE_SOURCE, b"/sluice/ops"),
            (h.CE_SPECVERSION, b"1.0"),
            (h.CE_TIME, standing.changed_at.isoformat().encode()),
            (h.CONTENT_TYPE, h.JSON.encode()),
        )
        value = standing.model_dump_json().encode()
        return Output(self.names.replays, 0, plan_id.encode(), value, headers)

    def _audit(self, before: Standing | None, after: Standing) -> Output:
        plan = after.plan
        details: Mapping[str, object] = {
            "before": before.phase if before else None,
            "selection": plan.selection.describe(),
            "edit": plan.edit.model_dump(mode="json", exclude_defaults=True),
            "selected": plan.found.selected,
        }
        encoded = action_audited(
            f"replay.{after.phase}", subject=plan.plan_id, who=after.changed_by,
            why=after.reason or plan.why, now=after.changed_at, **details,
        )  # fmt: skip
        return Output(self.names.audit, None, encoded.key, encoded.value, encoded.headers)


def read_standing(record: "ConsumerRecord[bytes | None, bytes | None]") -> Standing | None:
    """Read a record of `claude.replays.v1`; None where it is none of ours."""
    try:
        return Standing.model_validate_json(record.value or b"")
    except ValidationError as exc:
        log.warning("plan.unreadable", offset=record.offset, errors=exc.error_count())
        return None


async def _group_offsets(
    admin: AIOKafkaAdminClient, group: str
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Read a group's offsets; a cluster that never held a group makes their topic when asked."""
    for left in reversed(range(_COORDINATOR_TRIES)):
        try:
            return await admin.list_consumer_group_offsets(group)  # type: ignore[no-any-return]
        except GroupCoordinatorNotAvailableError:
            if not left:
                raise
            await asyncio.sleep(_COORDINATOR_PAUSE)
    raise AssertionError  # the last turn returns or raises
