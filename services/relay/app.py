"""Puts the relay together: settings in, a process that can be run out."""

import asyncio
import time
from datetime import timedelta
from typing import Final

from faststream import FastStream

from services.relay.put_back import PutBack
from services.relay.settings import RelaySettings
from services.runtime.broker import make_broker
from services.runtime.connection import connection_options
from services.runtime.engine.engine import Engine
from services.runtime.engine.limits import Limits
from services.runtime.engine_meter import EngineMeter, MeteredTransactions, MeteredWork
from services.runtime.health import HealthServer
from services.runtime.intake import subscribe
from services.runtime.kafka import KafkaLog, KafkaTransactions
from services.runtime.metrics import Metrics
from services.runtime.probes import alive, serving
from sluice_contracts import CompletionRequested, TopicNames
from sluice_contracts.topics import CARRIED_BYTES

_GRACE: Final = timedelta(seconds=5)
"""For the commit that is under way; what rests is given back at once."""


class Relay:
    """The relay as a process: runs until it is told to stop."""

    def __init__(self, app: FastStream, meter: EngineMeter, health: HealthServer) -> None:
        self.app: Final = app
        self._meter = meter
        self._health = health

    async def run(self) -> None:
        """Move records until SIGTERM, then commit and leave the group."""
        async with self._health, asyncio.TaskGroup() as beside:
            meter = beside.create_task(self._meter.run())
            await self.app.run()
            meter.cancel()


def build(settings: RelaySettings) -> Relay:
    """Put the relay together; nothing connects before it runs."""
    hold = settings.relay
    names = TopicNames(settings.kafka.topic_prefix)
    metrics = Metrics("relay")
    log = KafkaLog()
    timeout = hold.transaction_timeout.total_seconds()
    put_back = PutBack(names, metrics, time.time)
    transactions = KafkaTransactions(
        connection_options(settings.kafka, role="relay"),
        group=hold.group_id,
        transaction_timeout=timeout,
        request_timeout=timeout * 2 / 3,
        largest_output=CARRIED_BYTES,
    )
    engine = Engine(
        group=hold.group_id,
        log=log,
        transactions=MeteredTransactions(transactions, metrics),
        work=MeteredWork(put_back, metrics),
        opened=put_back.forget,
        limits=Limits(
            in_flight_bytes=hold.bytes_ahead // len(hold.delays),
            incomplete=hold.records_ahead,
            gather_outcomes=hold.records_ahead,
            gather=0.02,  # what is due together comes together; longer would only be later
            hand_over_timeout=_GRACE.total_seconds(),
        ),
    )
    broker = make_broker(settings.kafka)
    subscribe(
        broker,
        [names.retries(delay) for delay in hold.delays],
        engine=engine,
        log=log,
        group=hold.group_id,
        grace=_GRACE,
        session_timeout=hold.session_timeout,
        handler=_describe,
    )
    health = HealthServer(
        settings.health,
        metrics,
        liveness=lambda: alive(engine.state()),
        readiness=lambda: serving(engine.state()),
    )
    return Relay(FastStream(broker, logger=None), EngineMeter(engine.state, log, metrics), health)


async def _describe(request: CompletionRequested) -> None:
    """Describe what rests on a retry topic, for the AsyncAPI document."""
