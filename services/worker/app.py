"""Puts the worker together: the only place where its objects are made."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from faststream import FastStream
from faststream.kafka import KafkaBroker
from pydantic_core import to_json

from services.runtime.broker import make_broker
from services.runtime.connection import connection_options
from services.runtime.engine.engine import Engine
from services.runtime.engine.limits import Limits
from services.runtime.engine.ports import Output
from services.runtime.engine_meter import EngineMeter, MeteredTransactions, MeteredWork
from services.runtime.health import HealthServer, Probe
from services.runtime.intake import subscribe
from services.runtime.kafka import KafkaLog, KafkaTransactions
from services.runtime.metrics import Metrics
from services.runtime.probes import alive, serving
from services.runtime.reading import Follower
from services.runtime.secrets import SecretStore
from services.worker.calling import Caller
from services.worker.cancellations import Cancellations
from services.worker.chunks import Send
from services.worker.claude import Call, Claude
from services.worker.gate import Gate
from services.worker.guard import DeadLetterGuard
from services.worker.handler import Handler
from services.worker.judging import Judge
from services.worker.library import PromptLibrary
from services.worker.meters import Meters
from services.worker.model_lookup import ModelLookup
from services.worker.models import ModelFacts
from services.worker.past_outcomes import PastOutcomes
from services.worker.pipeline import Pipeline
from services.worker.publish import Publisher
from services.worker.reporting import Reporter
from services.worker.seen import Seen
from services.worker.settings import WorkerSettings
from services.worker.throttle import RateTopic, Throttle
from services.worker.throttle.limits_api import LimitsApi
from sluice_contracts import CompletionRequested, Tier, TopicNames
from sluice_contracts.topics import CARRIED_BYTES

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def build(settings: WorkerSettings) -> AsyncIterator[FastStream]:
    """Put the worker together around its key; what it yields takes records when it runs.

    Raises:
        SecretsUnavailable: The key cannot be read; nothing is taken without one.
    """
    metrics = Metrics("worker", version("sluice"))
    options = connection_options(settings.kafka, role="worker")
    names = TopicNames(settings.kafka.topic_prefix)
    async with (
        SecretStore.open(settings, metrics) as secrets,
        _limits_api(settings, metrics) as limits_api,
    ):
        throttle = Throttle(
            settings.throttle,
            metrics=metrics,
            exchange=RateTopic(settings.kafka, names.rate),
            limits=limits_api,
        )
        async with Claude(settings.claude, secrets, throttle.observe) as claude:
            broker = make_broker(settings.kafka)
            cancellations = Cancellations(entries=settings.cancellation.entries)
            follower = Follower(
                options,
                names.cancellations,
                cancellations.on_record,
                since_ms=int((time.time() - settings.cancellation.window.total_seconds()) * 1000),
            )
            models = ModelLookup(settings.tiers, settings.claude, claude.facts)
            await models.look()
            seen = _seen(settings, options, names)
            handler = _handler(
                settings,
                names,
                metrics,
                claude=claude,
                throttle=throttle,
                facts=models.facts,
                send=_sender(broker),
                seen=seen,
                cancellations=cancellations,
                is_ready=follower.caught_up.is_set,
            )
            log = KafkaLog()
            engine = _engine(settings, names, log, handler, options=options, metrics=metrics)
            meter = EngineMeter(engine.state, log, metrics)
            subscribe(
                broker,
                [names.requests(tier) for tier in settings.tiers],
                engine=engine,
                log=log,
                group=settings.engine.group_id,
                grace=settings.engine.grace,
                session_timeout=settings.engine.session_timeout,
                handler=_describe,
            )
            health = HealthServer(
                settings.health,
                metrics,
                liveness=lambda: alive(engine.state()),
                readiness=lambda: _readiness(
                    engine,
                    handler,
                    follower=follower,
                    seen=seen,
                    secrets=secrets,
                    throttle=throttle,
                ),
            )
            beside = (throttle.run(), follower.run(), meter.run(), models.run())
            async with health, handler, _beside(*beside):
                yield FastStream(broker, logger=None)


def _seen(settings: WorkerSettings, options: Mapping[str, Any], names: TopicNames) -> Seen:
    window = settings.duplicate.window.total_seconds()
    past = PastOutcomes(
        options,
        names,
        reply_to=settings.admit.reply_to,
        window=window,
        entries=settings.duplicate.entries,
        clock=time.time,
    )
    return Seen(past.load, window=window, entries=settings.duplicate.entries)


def _handler(
    settings: WorkerSettings,
    names: TopicNames,
    metrics: Metrics,
    *,
    claude: Claude,
    throttle: Throttle,
    facts: Mapping[Tier, ModelFacts],
    send: Send,
    seen: Seen,
    cancellations: Cancellations,
    is_ready: Callable[[], bool],
) -> Handler:
    publisher, reporter = Publisher(names), Reporter()
    guard = settings.guard
    gates = {
        tier: Gate(tier, _canary(settings, claude, throttle, tier), guard, metrics)
        for tier in settings.tiers
    }
    guards = {
        tier: DeadLetterGuard(run=guard.dead_letter_run, window=guard.window, share=guard.share)
        for tier in settings.tiers
    }
    caller = Caller(
        claude=claude,
        throttle=throttle,
        publisher=publisher,
        send=send,
        names=names,
        settings=settings,
    )
    pipeline = Pipeline(
        settings=settings,
        library=PromptLibrary(defaults=settings.prompts_defaults),
        facts=facts,
        caller=caller,
        count_tokens=claude.count_tokens,
        publisher=publisher,
        claims=seen,
        cancelled=cancellations,
        gates=gates,
        reporter=reporter,
    )
    judge = Judge(
        publisher=publisher,
        reporter=reporter,
        gates=gates,
        guards=guards,
        seen=seen,
        retry=settings.retry,
    )
    return Handler(
        pipeline=pipeline,
        judge=judge,
        gates=gates,
        seen=seen,
        names=names,
        meters={tier: Meters(metrics, tier) for tier in settings.tiers},
        hold_left=caller.hold_left,
        is_ready=is_ready,
        clock=lambda: datetime.now(UTC),
    )


def _engine(
    settings: WorkerSettings,
    names: TopicNames,
    log: KafkaLog,
    handler: Handler,
    *,
    options: Mapping[str, Any],
    metrics: Metrics,
) -> Engine:
    chosen = settings.engine
    timeout = chosen.transaction_timeout.total_seconds()
    return Engine(
        group=chosen.group_id,
        log=log,
        transactions=MeteredTransactions(
            KafkaTransactions(
                dict(options),
                group=chosen.group_id,
                transaction_timeout=timeout,
                request_timeout=timeout * 2 / 3,
                largest_output=CARRIED_BYTES,
            ),
            metrics,
        ),
        work=MeteredWork(handler, metrics),
        opened=handler.forget,
        limits=Limits(
            in_flight=chosen.in_flight,
            in_flight_bytes=chosen.in_flight_bytes // len(settings.tiers),
            incomplete=chosen.incomplete,
            commit_timeout=timeout + 3,
            condemn_after=chosen.condemn_after,
            ordered_topics=frozenset(names.requests(tier) for tier in chosen.ordered_tiers),
        ),
    )


@asynccontextmanager
async def _limits_api(
    settings: WorkerSettings, metrics: Metrics
) -> AsyncIterator[LimitsApi | None]:
    """Open the Rate Limits API where an admin key is named; it is a secret like the other."""
    if settings.admin_secret is None:
        yield None
        return
    admin = settings.secrets.model_copy(update={"name": settings.admin_secret, "api_key": None})
    as_admin = settings.model_copy(update={"secrets": admin})
    async with SecretStore.open(as_admin, metrics) as secrets:
        yield LimitsApi(str(settings.claude.base_url), lambda: secrets.get().reveal())


def _canary(
    settings: WorkerSettings, claude: Claude, throttle: Throttle, tier: Tier
) -> Callable[[], Any]:
    """Make the smallest call that needs the tier's key, wallet and model."""
    model = settings.claude.of(tier)
    body = {
        "model": model.model,
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "ping"}],
    }
    call = Call(to_json(body), model.rate_limit_group)

    async def sing() -> None:
        await claude.call(call)
        throttle.resume(model.rate_limit_group)

    return sing


@asynccontextmanager
async def _beside(*running: Any) -> AsyncIterator[None]:
    """Run these for as long as it is entered; if one fails, everything stops."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(each) for each in running]
        yield
        for task in started:
            task.cancel()


def _sender(broker: KafkaBroker) -> Send:
    """Send chunks outside any transaction: they are for reading along, the outcome is the truth."""

    async def send(output: Output) -> None:
        try:
            await broker.publish(
                output.value or b"",
                output.topic,
                key=output.key,
                headers={name: (value or b"").decode() for name, value in output.headers},
                no_confirm=True,
            )
        except KafkaError as exc:
            _log.warning("chunk.lost", error=repr(exc))

    return send


async def _describe(request: CompletionRequested) -> None:
    """Describe what a request topic holds, for the AsyncAPI document."""


def _readiness(
    engine: Engine,
    handler: Handler,
    *,
    follower: Follower,
    seen: Seen,
    secrets: SecretStore,
    throttle: Throttle,
) -> Probe:
    work, closed = serving(engine.state()), handler.closed
    unread = {f"{topic}/{number}": why for (topic, number), why in seen.unknown.items()}
    knows_cancelled = follower.caught_up.is_set()
    facts: dict[str, Any] = {
        **work.facts,
        "gates_closed": closed,
        "gates_half_open": handler.doubted,
        "cancellations": follower.failure if knows_cancelled else f"unread: {follower.failure}",
        "past_unread": unread,
        "secret": secrets.facts(),
        "throttle": throttle.snapshot(),
    }
    return Probe(work.ok and knows_cancelled and not (closed or unread), facts)
