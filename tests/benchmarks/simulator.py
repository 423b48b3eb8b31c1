"""How many calls the simulator answers on one core: `python -m tests.benchmarks.simulator`.

A raw client keeps 64 connections busy with triage-like requests (1.7 KB, JSON-schema output, a
cached system prompt); the simulator's own CPU time counts, so a busy machine matters less. The last
line is JSON.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from typing import Any, cast

import uvloop

CONNECTIONS = 64
CALLS_EACH = 250
PLENTY = "100000000000"
SYSTEM = "You are a triage assistant. Pick exactly one label and an urgency for each ticket. " * 12
SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["card_arrival", "card_stolen", "exchange_rate"]},
        "urgency": {"type": "string", "enum": ["low", "high"]},
        "why": {"type": "string"},
    },
    "required": ["label", "urgency", "why"],
    "additionalProperties": False,
}


def request(number: int, *, streams: bool) -> bytes:
    """Return one call."""
    mark = {"type": "ephemeral"}
    text = f"Ticket {number}: my card was stolen in Bern and I need a new one quickly please"
    body: dict[str, Any] = {
        "model": "claude-haiku-5-5",
        "max_tokens": 300,
        "stream": streams,
        "system": [{"type": "text", "text": SYSTEM, "cache_control": mark}],
        "messages": [{"role": "user", "content": text}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    }
    raw = json.dumps(body).encode()
    head = (
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n"
        "content-type: application/json\r\nuser-agent: AsyncAnthropic/Python 2.12.0\r\n"
        "anthropic-version: 2026-10-21\r\nauthorization: Bearer sk-ant-api03-simulator-one\r\n"
        f"x-sluice-request-id: r{number}\r\ncontent-length: {len(raw)}\r\n\r\n"
    )
    return head.encode() + raw


class Caller(asyncio.Protocol):
    """One connection that sends the next call when the last is answered."""

    def __init__(self, first: int, *, streams: bool) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next = first
        self._left = CALLS_EACH
        self._streams = streams
        self._answer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first call."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Wait for the end of the answer."""
        self._answer += data
        if not self._answer.endswith(b"\r\n0\r\n\r\n"):
            return
        if not self._answer.startswith(b"HTTP/1.1 200 "):
            self.done.set_exception(RuntimeError(self._answer[:500].decode()))
            return
        self._answer = b""
        self._left -= 1
        if self._left:
            self._send()
        else:
            self.done.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None
        self._transport.write(request(self._next, streams=self._streams))
        self._next += 1


async def load(port: int, *, streams: bool) -> float:
    """Run all calls; return the seconds."""
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    callers = []
    for number in range(CONNECTIONS):
        _, caller = await loop.create_connection(
            lambda number=number: Caller(number * CALLS_EACH, streams=streams),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        callers.append(caller)
    await asyncio.gather(*[caller.done for caller in callers])
    return time.monotonic() - began


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 not a file to speak of
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(*, streams: bool) -> dict[str, float]:
    """Start a simulator, load it, stop it."""
    limits = [f"--limits.default.{name}" for name in ("requests", "input-tokens", "output-tokens")]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "services.simulator", "--port", "0"),
            *("--latency.scale", "0", "--answers.gzip-share", "0"),
            *[part for name in limits for part in (name, PLENTY)],
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        before = cpu_seconds(process.pid)
        wall = uvloop.run(load(port, streams=streams))
        used = cpu_seconds(process.pid) - before
    finally:
        process.terminate()
        process.wait()
    calls = CONNECTIONS * CALLS_EACH
    return {
        "calls_per_second_wall": round(calls / wall),
        "cpu_ms_per_call": round(used / calls * 1_000, 3),
        "calls_per_second_and_core": round(calls / used),
    }


def main() -> None:
    """Measure and print."""
    load_average = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores shared, load average {load_average:.1f} at the start")
    result = {"plain": measure(streams=False), "streamed": measure(streams=True)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
