"""`sluice cancel`: requests that have not been called yet fail as `cancelled`, unpaid."""

import asyncio
import json
from typing import Annotated

import typer

from services.ops.audit import SOURCE, action_audited, current_operator
from services.ops.sending import Sender
from services.ops.settings import OpsSettings
from services.ops.submission import utc_now
from services.runtime.connection import connection_options
from services.runtime.reading import partitions_of
from services.runtime.settings import KafkaSettings, read
from sluice_contracts import CancellationRequested, TopicNames, encode


def cancel(
    request_ids: Annotated[list[str], typer.Argument(help="The requests to cancel.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; goes into the failure and the audit topic.")],
    by: Annotated[str | None, typer.Option(help="Who asks; default: the user here.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask to fail requests that wait, unpaid; what is being called or is answered stays.

    Whether a request was in time shows in its outcome: `sluice tail --request-id …`.
    """
    settings = read(OpsSettings)
    who = by or current_operator()
    asked = [
        CancellationRequested(request_id=one, reason=reason, requested_by=who)
        for one in dict.fromkeys(request_ids)
    ]
    asyncio.run(_cancel(settings.kafka, asked))
    if json_:
        facts = {"requested": [one.request_id for one in asked], "reason": reason, "by": who}
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        typer.echo(f"asked to cancel {len(asked)} {'request' if len(asked) == 1 else 'requests'}")


async def _cancel(kafka: KafkaSettings, asked: list[CancellationRequested]) -> None:
    names = TopicNames(kafka.topic_prefix)
    topics = (names.cancellations, names.audit)
    await partitions_of(connection_options(kafka, role="ops"), topics)
    now = utc_now()
    async with Sender.open(kafka) as sender:
        for one in asked:
            # The audit first: an action without a record of it is the worse half to be left with.
            await sender.send(
                names.audit,
                action_audited(
                    "request.cancellation_requested", subject=one.request_id,
                    who=one.requested_by, why=one.reason, now=now,
                ),
            )  # fmt: skip
            await sender.send(names.cancellations, encode(one, source=SOURCE, time=now))
