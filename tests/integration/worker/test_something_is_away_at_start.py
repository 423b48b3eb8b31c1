"""A process that cannot start says in one line what is wrong, where, and what to do about it."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from services.ops.local.ports import free_ports

CHECKOUT = Path(__file__).resolve().parents[3]
NOBODY = f"127.0.0.1:{free_ports(1)[0]}"
SOUND = {
    "KAFKA__BOOTSTRAP_SERVERS": NOBODY,
    "CLAUDE__BASE_URL": f"http://{NOBODY}",
    "SECRETS__API_KEY": "sk-ant-it-away-4444",
    "HEALTH__PORT": "0",
    "LOG__FORMAT": "json",
}


async def _start(room: str, **variables: str | None) -> tuple[int | None, list[str]]:
    """Start a room; return its exit code and what it wrote."""
    wanted = {**os.environ, **SOUND, **variables}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{room}", cwd=CHECKOUT,
        env={name: value for name, value in wanted.items() if value is not None},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, said.decode().splitlines()


@pytest.mark.parametrize("room", ["worker", "relay"])
async def test_kafka_is_away(room: str) -> None:
    """The line names the address and the setting."""
    code, lines = await _start(room)
    (line,) = [line for line in lines if line.startswith("error: ")]
    assert 1 == code
    for said in ("Kafka", NOBODY.partition(":")[2], "KAFKA__BOOTSTRAP_SERVERS", "sluice doctor"):
        assert said in line
    assert "Traceback" not in "".join(lines)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"AWS_PROFILE": "nobody", "ENVIRONMENT": "staging"}, "AWS_PROFILE"),
        ({"SECRETS__ENDPOINT_URL": f"http://{NOBODY}"}, "SECRETS__ENDPOINT_URL"),
        ({"TIERS": "[]"}, "tiers is empty"),
        ({"ANTHROPIC_LOG": "debug"}, "ANTHROPIC_LOG"),
    ],
)
async def test_the_worker_cannot_be_set_up(variables: dict[str, str], told: str) -> None:
    """Secrets Manager, AWS's own settings, ours, and what must not be set."""
    key = SOUND["SECRETS__API_KEY"] if "ANTHROPIC_LOG" in variables else None
    code, lines = await _start("worker", SECRETS__API_KEY=key, **variables)
    assert (1, True) == (code, any(line.startswith("error: ") for line in lines))
    assert told in "".join(lines)
    assert "Traceback" not in "".join(lines)
