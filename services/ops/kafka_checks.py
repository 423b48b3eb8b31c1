"""What `sluice doctor` asks the brokers: their version, a transaction, who works for the group."""

import asyncio
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.protocol.admin import ApiVersionRequest

from services.ops.check import Check, Verdict
from services.ops.settings import OpsSettings
from services.ops.topic_plan import ClusterState
from services.runtime.connection import connection_options
from services.runtime.reading import TopicMissing, open_reader, partitions_of, ranges_of
from sluice_contracts.topics import Tier, TopicNames

_FETCH: Final = 1
_OLDEST_FETCH_OF_KAFKA_4: Final = 4
"""Kafka 4.0 dropped the versions before (KIP-896); brokers do not say their own version."""
_INIT_PRODUCER_ID: Final = 22
_TRANSACTIONAL_ID: Final = "sluice.doctor"
_KAFKA_TIMEOUT: Final = 10.0
_LOOK_AGAIN: Final = 0.2


async def kafka_version(settings: OpsSettings, state: ClusterState) -> Check:
    """Ask a broker for its protocol versions."""
    client = AIOKafkaClient(**connection_options(settings.kafka, role="doctor"))
    where = f"{state.brokers} brokers" if state.brokers > 1 else "one broker"
    try:
        async with asyncio.timeout(_KAFKA_TIMEOUT):
            await client.bootstrap()
            answer = await client.send(client.get_random_node(), ApiVersionRequest())
    except (KafkaError, TimeoutError, OSError) as exc:
        return Check("kafka", Verdict.FAILED, f"no version: {exc!r}", "look at the brokers' logs")
    finally:
        await client.close()
    oldest = {key: least for key, least, _ in answer.api_versions}
    if _INIT_PRODUCER_ID not in oldest or oldest[_FETCH] < _OLDEST_FETCH_OF_KAFKA_4:
        return Check(
            "kafka", Verdict.FAILED, f"{where}, older than Kafka 4.0",
            "use Apache Kafka 4.0 or newer; the promises are tested there",
        )  # fmt: skip
    return Check("kafka", Verdict.OK, f"{where} at {settings.kafka.bootstrap_servers}, Kafka ≥ 4.0")


async def transactions(settings: OpsSettings) -> Check:
    """Open and abort a transaction, as a worker does for each partition it is given."""
    producer = AIOKafkaProducer(
        **connection_options(settings.kafka, role="doctor"), transactional_id=_TRANSACTIONAL_ID
    )
    try:
        async with asyncio.timeout(_KAFKA_TIMEOUT):
            await producer.start()
            await producer.begin_transaction()
            await producer.abort_transaction()
    except (KafkaError, TimeoutError) as exc:
        return Check(
            "transactions", Verdict.FAILED, f"no transaction can be opened: {exc!r}",
            "check the topic __transaction_state, and that the ACLs allow transactional ids",
        )  # fmt: skip
    finally:
        await producer.stop()
    return Check("transactions", Verdict.OK, "opened and aborted one")


async def workers(settings: OpsSettings) -> Check:
    """Ask who is in the workers' consumer group, and how much waits for them."""
    group = settings.engine.group_id
    options = connection_options(settings.kafka, role="doctor")
    admin = AIOKafkaAdminClient(**options)
    try:
        async with asyncio.timeout(_KAFKA_TIMEOUT):
            await admin.start()
            members = await _members(admin, group)
            waiting = await _waiting(settings, admin)
    except (KafkaError, TimeoutError) as exc:
        return Check(
            "workers", Verdict.FAILED, f"group '{group}' does not answer: {exc!r}",
            "check the topic __consumer_offsets, and that the ACLs allow the group",
        )  # fmt: skip
    finally:
        await admin.close()
    found = f"{members} in group '{group}', {waiting} requests wait or are being answered"
    if members:
        return Check("workers", Verdict.OK, found)
    return Check("workers", Verdict.WARNING, found, "start one: sluice worker")


async def _members(admin: AIOKafkaAdminClient, group: str) -> int:
    while True:
        try:
            (described,) = await admin.describe_consumer_groups([group])
        except GroupCoordinatorNotAvailableError:
            # The first question of all makes a new cluster create the topic of its groups.
            await asyncio.sleep(_LOOK_AGAIN)
        else:
            return len(described.groups[0][5])


async def _waiting(settings: OpsSettings, admin: AIOKafkaAdminClient) -> int:
    """Count the records from the committed offsets to the ends of the request topics."""
    options = connection_options(settings.kafka, role="doctor")
    topics = map(TopicNames(settings.kafka.topic_prefix).requests, Tier)
    try:
        partitions = await partitions_of(options, topics)
    except TopicMissing:
        return 0  # another check's business
    done = await admin.list_consumer_group_offsets(settings.engine.group_id)
    async with open_reader(options) as reader:
        spans = await ranges_of(reader, partitions)
    return sum(
        span.end - max(span.start, done[place].offset if place in done else 0)
        for place, span in spans.items()
    )
