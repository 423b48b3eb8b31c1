"""A cluster's topics through the admin client: read them, create, grow and configure them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from services.ops.topic_plan import (
    ClusterState,
    Difference,
    Kind,
    TopicState,
    merged_settings,
    plan,
    settings_of,
    wanted_topics,
)
from services.runtime.connection import connection_options
from services.runtime.settings import KafkaSettings
from sluice_contracts.topics import Topic

_SET_FOR_THE_TOPIC: Final = 1  # the source of a setting in DescribeConfigs
_READY_SECONDS: Final = 30.0
_LOOK_AGAIN: Final = 0.05


class ClusterError(Exception):
    """The cluster did not answer, or refused; the message names what and why."""


class Cluster:
    """An open admin connection."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin: Final = admin

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: KafkaSettings) -> AsyncIterator[Self]:
        """Connect, and close at the end.

        Raises:
            ClusterError: No broker answers.
        """
        admin = AIOKafkaAdminClient(**connection_options(settings, role="admin"))
        try:
            try:
                await admin.start()
            except (KafkaError, OSError) as exc:
                raise ClusterError(
                    f"no Kafka at {settings.bootstrap_servers} ({exc}); "
                    "start one with make up, or set KAFKA__BOOTSTRAP_SERVERS"
                ) from exc
            yield cls(admin)
        finally:
            await admin.close()

    async def state(self) -> ClusterState:
        """Read the brokers and every topic of others than Kafka itself."""
        brokers = len((await self._admin.describe_cluster())["brokers"])
        names = [name for name in await self._admin.list_topics() if not name.startswith("__")]
        described = await self._admin.describe_topics(names) if names else []
        settings = await self._settings(names)
        return ClusterState(
            brokers,
            {
                each["topic"]: TopicState(
                    partitions=len(each["partitions"]),
                    replication=min((len(p["replicas"]) for p in each["partitions"]), default=0),
                    settings={name: value for name, (value, _) in settings[each["topic"]].items()},
                    own={n: v for n, (v, mine) in settings[each["topic"]].items() if mine},
                )
                for each in described
                if each["topic"] in settings
            },
        )

    async def _settings(self, names: Iterable[str]) -> dict[str, dict[str, tuple[str, bool]]]:
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        found: dict[str, dict[str, tuple[str, bool]]] = {}
        for answer in await self._admin.describe_configs(asked) if asked else []:
            for code, _, _, topic, entries in answer.resources:
                if code == 0:  # else it was deleted since it was listed
                    found[topic] = {
                        name: (value, source == _SET_FOR_THE_TOPIC)
                        for name, value, _, source, *_ in entries
                    }
        return found

    async def apply(
        self, catalogue: Iterable[Topic], state: ClusterState, differences: list[Difference]
    ) -> None:
        """Make every applicable difference good, in the order given; safe to repeat.

        Raises:
            ClusterError: The cluster refused a change.
        """
        rows = list(catalogue)
        await self.create(wanted_topics(rows, differences), state.replication)
        grown = {d.topic: int(d.wanted or 0) for d in differences if d.kind is Kind.PARTITIONS}
        for topic, partitions in grown.items():
            await self._grow(topic, partitions)
        changed = dict.fromkeys(d.topic for d in differences if d.kind is Kind.SETTING)
        for topic in changed:
            await self._configure(topic, merged_settings(state.topics[topic], topic, differences))
        await self._until_led(grown)
        await self._until_gone(rows, {(d.topic, d.what) for d in differences if d.is_applicable})

    async def _until_gone(self, rows: list[Topic], made_good: set[tuple[str, str]]) -> None:
        """Wait until the changes show: a broker learns them a moment after the controller."""
        deadline = asyncio.get_running_loop().time() + _READY_SECONDS
        while left := made_good & {(d.topic, d.what) for d in plan(rows, await self.state())}:
            if asyncio.get_running_loop().time() > deadline:
                shown = ", ".join(f"{topic} {what}" for topic, what in sorted(left))
                raise ClusterError(f"changes were accepted but do not show: {shown}")
            await asyncio.sleep(_LOOK_AGAIN)

    async def create(self, topics: Iterable[Topic], replication: int) -> None:
        """Create topics and wait until each partition has a leader; leave alone what exists."""
        rows = list(topics)
        if not rows:
            return
        new = [
            NewTopic(
                row.name, row.partitions, replication, topic_configs=settings_of(row, replication)
            )
            for row in rows
        ]
        answer = await self._ask("create topics", self._admin.create_topics(new))
        for topic, code, *detail in answer.topic_errors:
            if code not in (0, TopicAlreadyExistsError.errno):
                raise _refused(f"create topic {topic}", code, detail)
        await self._until_led({row.name: row.partitions for row in rows})

    async def _grow(self, topic: str, partitions: int) -> None:
        asked = {topic: NewPartitions(partitions)}
        await self._ask(f"grow topic {topic}", self._admin.create_partitions(asked))

    async def _configure(self, topic: str, settings: Mapping[str, str]) -> None:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict(settings))
        answers = await self._ask(f"configure topic {topic}", self._admin.alter_configs([resource]))
        for answer in answers:
            for code, *detail in answer.resources:
                if code:
                    raise _refused(f"configure topic {topic}", code, detail)

    async def _ask(self, what: str, call: Any) -> Any:
        try:
            return await call
        except KafkaError as exc:
            raise ClusterError(f"cannot {what}: {exc}") from exc

    async def _until_led(self, partitions: Mapping[str, int]) -> None:
        """Wait until clients that look for these partitions find a leader."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                while not self._led(  # noqa: ASYNC110 - the cluster is asked
                    await self._admin.describe_topics(list(partitions)), partitions
                ):
                    await asyncio.sleep(_LOOK_AGAIN)
        except TimeoutError:
            raise ClusterError(
                f"topics got no leader within {_READY_SECONDS:.0f} s: {', '.join(partitions)}; "
                "see the brokers' logs"
            ) from None

    @staticmethod
    def _led(described: list[dict[str, Any]], partitions: Mapping[str, int]) -> bool:
        return all(
            each["error_code"] == 0
            and len(each["partitions"]) >= partitions[each["topic"]]
            and all(p["error_code"] == 0 and p["leader"] >= 0 for p in each["partitions"])
            for each in described
        )


def _refused(what: str, code: int, detail: list[Any]) -> ClusterError:
    said = next((part for part in detail if isinstance(part, str) and part), "")
    return ClusterError(f"cannot {what}: {for_code(code).__name__} {said}".rstrip())
