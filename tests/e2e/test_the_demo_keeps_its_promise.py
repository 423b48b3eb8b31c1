"""`sluice demo` as a person runs it, on a cluster that is already there."""

import asyncio
import os
import subprocess
import sys

import pytest

from services.ops.local.run import CHECKOUT
from tests.conftest import Broker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


async def test_every_request_of_the_demo_has_exactly_one_outcome(kafka: Broker) -> None:
    """It exits with 0 and says so, having met 429s, 529s, broken events and a new key."""
    environment = {**os.environ, "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers}
    environment.pop("CLAUDE", None)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.ops", "demo",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd=CHECKOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    said = output.decode()
    assert 0 == process.returncode, said
    assert "every request has exactly one outcome: 244 of 244" in said
    assert "6 x 529, 4 x 429" in said
    assert "(revoked)" in said
