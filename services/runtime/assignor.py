"""Shares partitions out so that planned changes repeat no call.

The group protocol of the client is eager: every rebalance takes everything from everybody. Members
therefore tell the leader what they hold. The leader leaves held partitions where they are and names
those that have to move; their holders finish the calls, let go and ask for another round, in which
the partitions are free. Two members that both claim a partition: the one that heard from the leader
last is right. A member of an older generation was away.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

from services.runtime.engine.engine import Engine
from services.runtime.engine.ports import Partition


@dataclass(frozen=True, slots=True)
class Member:
    """What the leader knows of a member."""

    topics: frozenset[str]
    round: int = 0
    """The last round that this member took part in."""
    holds: Mapping[Partition, bool] = field(default_factory=dict)
    """What it holds, and whether it has to finish calls before letting go."""
    is_leaving: bool = False
    """Whether it is finishing its calls and must get nothing more."""


@dataclass(frozen=True, slots=True)
class Share:
    """What the leader gives a member."""

    partitions: tuple[Partition, ...]
    release: tuple[Partition, ...]
    """Of these, the ones to let go of, because somebody else is to get them."""


def share_out(
    partitions: Mapping[str, Collection[int]], members: Mapping[str, Member]
) -> dict[str, Share]:
    """Give every partition an owner: no held one moves, and nobody is left with too few for long.

    Pure, so that any member may be the leader and would decide the same.
    """
    names = sorted(members)
    kept: dict[str, list[Partition]] = {name: [] for name in names}
    release: dict[str, list[Partition]] = {name: [] for name in names}
    free: list[Partition] = []
    every = sorted(Partition(topic, n) for topic, numbers in partitions.items() for n in numbers)
    for partition in every:
        readers = [name for name in names if partition.topic in members[name].topics]
        holders = [name for name in readers if partition in members[name].holds]
        if holders:
            kept[max(holders, key=lambda name: (members[name].round, name))].append(partition)
        elif readers:
            free.append(partition)
    staying = [name for name in names if not members[name].is_leaving]
    least, extra = divmod(sum(map(len, kept.values())) + len(free), max(len(staying), 1))
    # Those who hold most may keep one more than the others.
    by_load = sorted(staying, key=lambda name: (-len(kept[name]), name))
    quota = {name: least + (rank < extra) for rank, name in enumerate(by_load)}
    for name in staying:
        surplus = len(kept[name]) - quota[name]
        # The busy ones last: what is idle can move without waiting.
        for partition in sorted(kept[name], key=lambda p: (members[name].holds[p], p)):
            if surplus <= 0:
                break
            if members[name].holds[partition]:
                release[name].append(partition)
            else:
                kept[name].remove(partition)
                free.append(partition)
            surplus -= 1
    for partition in sorted(free):
        readers = [name for name in staying if partition.topic in members[name].topics]
        if not readers:
            continue
        # Per topic first, so that a topic with more work than others is not one member's.
        fewest = min(
            readers,
            key=lambda name: (
                len(kept[name]) - len(release[name]) >= quota[name],
                sum(held.topic == partition.topic for held in kept[name]),
                len(kept[name]),
                name,
            ),
        )
        kept[fewest].append(partition)
    return {name: Share(tuple(sorted(kept[name])), tuple(release[name])) for name in names}


class HandOverAssignor(AbstractPartitionAssignor):  # type: ignore[misc]  # untyped library
    """One consumer's side of the protocol; an instance each, as it keeps the round."""

    name: Final = "sluice-hand-over"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._round = 0
        self.release: tuple[Partition, ...] = ()
        """What the leader asked this member to let go of, in the last round."""

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Tell the leader what this member holds."""
        holds: defaultdict[str, list[list[int]]] = defaultdict(list)
        for partition, is_busy in self._engine.claims().items():
            holds[partition.topic].append([partition.number, int(is_busy)])
        known = {"round": self._round, "holds": holds, "leaving": self._engine.is_leaving}
        data = json.dumps(known, separators=(",", ":"))
        return ConsumerProtocolMemberMetadata(0, sorted(topics), data.encode())

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Decide for the whole group, as its leader."""
        known = {name: _read_member(member) for name, member in members.items()}
        topics = {topic for member in known.values() for topic in member.topics}
        partitions = {topic: cluster.partitions_for_topic(topic) or set() for topic in topics}
        shares = share_out(partitions, known)
        latest = max((member.round for member in known.values()), default=0) + 1
        return {name: _write_share(share, latest) for name, share in shares.items()}

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Note the round, and what is to move; the engine is told with its partitions."""
        data = json.loads(assignment.user_data) if assignment.user_data else {}
        self._round = data.get("round", self._round)
        self.release = tuple(Partition(*place) for place in data.get("release", ()))


def _read_member(metadata: ConsumerProtocolMemberMetadata) -> Member:
    data = json.loads(metadata.user_data) if metadata.user_data else {}
    return Member(
        topics=frozenset(metadata.subscription),
        round=data.get("round", 0),
        holds={
            Partition(topic, number): bool(is_busy)
            for topic, held in data.get("holds", {}).items()
            for number, is_busy in held
        },
        is_leaving=data.get("leaving", False),
    )


def _write_share(share: Share, latest: int) -> ConsumerProtocolMemberAssignment:
    by_topic: defaultdict[str, list[int]] = defaultdict(list)
    for partition in share.partitions:
        by_topic[partition.topic].append(partition.number)
    data = json.dumps({"round": latest, "release": share.release}, separators=(",", ":"))
    return ConsumerProtocolMemberAssignment(0, sorted(by_topic.items()), data.encode())
