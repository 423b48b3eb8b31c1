"""`make chaos` keeps every promise while workers are killed, paused, cut off and stormed."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from services.ops.local.distribution import KafkaUnavailableError, find_java, kafka_jars

_CHECKOUT = Path(__file__).resolve().parents[2]
_PATIENCE = 840
_KINDS = (
    "net.drop_answers", "net.end_after_timeout", "broker.kill", "relay.kill", "scale.rolling",
    "kill.before_end", "pause.at_end", "api.rate_limited", "api.stream_cut", "api.outage",
)  # fmt: skip
"""Some of each nature, and those around the end of a transaction, where most could go wrong."""


@pytest.mark.kafka
@pytest.mark.timeout(_PATIENCE + 30)
async def test_no_promise_is_broken_by_chaos() -> None:
    """A minute and a half of faults loses nothing, and every repeated call has its cause."""
    try:
        await asyncio.gather(find_java(), kafka_jars())
    except KafkaUnavailableError as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(str(exc), pytrace=False)
        pytest.skip(str(exc))

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos", "--minutes", "1.5", "--seed", "1",
        *(part for kind in _KINDS for part in ("--only", kind)),
        cwd=_CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_PATIENCE):
            said, told = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert 0 == process.returncode, told.decode()[-8000:]
    figures = json.loads(said.splitlines()[-1])
    assert {
        "requests", "faults", "lost", "duplicates", "repeated_calls", "repeats_unexplained",
        "recovery_s", "conditions",
    } == set(figures)  # fmt: skip
    assert (0, 0, 0) == (figures["lost"], figures["duplicates"], figures["repeats_unexplained"])
    assert figures["requests"] > 0
    assert set(figures["faults"]) == set(figures["recovery_s"])
    assert all(any(kind.startswith(of) for kind in figures["faults"]) for of in _KINDS)
