"""Dead letters for the scenarios of `dead-letters` and `replay`."""

import json

from aiokafka import AIOKafkaProducer

from services.runtime.settings import KafkaSettings
from sluice_contracts import Tier, TopicNames


async def write_letters(
    settings: KafkaSettings,
    names: TopicNames,
    count: int,
    *,
    tier: Tier = Tier.HAIKU,
    partition: int | None = None,
    padding: int = 0,
) -> None:
    """Write dead letters r0…; even ones refused, odd ones timed out; on two partitions or one."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers)
    await producer.start()
    try:
        for number in range(count):
            body = {"request_id": f"r{number}", "prompt": "triage@1", "variables": {"n": number}}
            body |= {"metadata": {"padding": "x" * padding}} if padding else {}
            headers = {
                "ce_type": "claude.completion.requested.v1",
                "x-request-id": f"r{number}",
                "x-root-id": f"r{number}",
                "x-generation": "0",
                "x-attempt": "2",
                "x-failure-code": "timed_out" if number % 2 else "refused",
                "x-failure-detail": f"detail {number}",
                "x-failure-reason": f"{'timed_out' if number % 2 else 'refused'}: detail …",
                "x-origin-topic": names.requests(tier),
                "x-shop": "mine",
            }
            await producer.send(
                names.dead_letters(tier), json.dumps(body).encode(), key=f"k{number}".encode(),
                partition=number % 4 // 2 if partition is None else partition,
                headers=[(name, value.encode()) for name, value in headers.items()],
            )  # fmt: skip
    finally:
        await producer.stop()
