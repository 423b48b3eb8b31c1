"""Sends a finished answer: at once or as a stream, in its time, and with the faults of the wire."""

import asyncio
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from pydantic_core import to_json

from services.simulator.answers.answer import Answer
from services.simulator.faults import Fault, FaultKind
from services.simulator.headers import Headers, compressed, compressor
from services.simulator.limiter import Limiter
from services.simulator.sse import error_event, event, events
from services.simulator.state import Exchange, State

WAKE_S = 0.02
"""Events of a stream that are due within this time are written together."""
HTML = b"<html><head><title>Just a moment...</title></head><body>Please wait.</body></html>"


@dataclass(slots=True)
class Delivery:
    """One answer on its way to the client."""

    state: State
    exchange: Exchange
    answer: Answer
    message: dict[str, Any]
    limits: dict[str, str]
    """Rate-limit headers as they were when the request arrived."""
    limiter: Limiter
    fault: Fault | None

    @property
    def _kind(self) -> FaultKind | None:
        return None if self.fault is None else self.fault.kind

    async def run(self, *, streams: bool) -> None:
        """Deliver it."""
        self.exchange.call.outcome = "ok" if self._kind is None else self._kind.value
        if self.fault is not None and self._kind is FaultKind.SLOW:
            await asyncio.sleep(self.fault.seconds)
        if streams and self._kind not in _BEFORE_A_STREAM:
            await self._stream()
            return
        await _wait(self.answer.first_token_s + self.answer.producing_s)
        self.limits = self.limiter.with_output(self.limits, datetime.now(UTC))
        await self._send_whole()

    async def _send_whole(self) -> None:
        reply, kind = self.exchange.reply, self._kind
        if kind is FaultKind.HANG:
            assert self.fault is not None
            await asyncio.sleep(self.fault.seconds)
            reply.close()
            return
        if kind is FaultKind.RESET_BEFORE_HEADERS:
            reply.reset()
            return
        if kind is FaultKind.HTML:
            reply.send(200, [*self._headers(), ("content-type", "text/html")], HTML)
            return
        body = to_json(self.message)
        headers = [*self._headers(), ("content-type", "application/json")]
        if kind is FaultKind.BROKEN_JSON:
            reply.send(200, headers, body[: len(body) // 2])
        elif kind in (FaultKind.RESET_IN_BODY, FaultKind.CUT_IN_BODY):
            reply.start(200, headers)
            reply.raw(b"%x\r\n%b" % (len(body), body[: len(body) // 2]))
            # The client must have read the head before the connection goes.
            await asyncio.sleep(0.05)
            reply.reset() if kind is FaultKind.RESET_IN_BODY else reply.close()
        else:
            body = compressed(body, headers, *self._compression())
            reply.send(200, headers, body)

    def _compression(self) -> tuple[str, float, Random]:
        accepted = self.exchange.request.headers.get("accept-encoding", "")
        return accepted, self.state.settings.answers.gzip_share, self.answer.random

    async def _stream(self) -> None:
        reply = self.exchange.reply
        await _wait(self.answer.first_token_s)
        headers = [
            *self._headers(),
            ("content-type", "text/event-stream; charset=utf-8"),
            ("cache-control", "no-cache"),
        ]
        made = self._spoilt(events(self.message, self.answer))
        packer = compressor(headers, *self._compression())
        reply.start(200, headers)
        await self._write_in_time(made, packer)
        if self._kind in _CUT_OFF:
            # The client must have read what was sent before the connection goes.
            await asyncio.sleep(0.05)
        if self._kind in (FaultKind.STREAM_RESET, FaultKind.RESET_IN_BODY):
            reply.reset()
        elif self._kind is FaultKind.CUT_IN_BODY:
            reply.close()
        else:
            reply.end()

    def _spoilt(self, made: list[bytes]) -> list[bytes]:
        kind, fault = self._kind, self.fault
        middle = max(1, len(made) // 2)
        if kind in (FaultKind.STREAM_ERROR_FIRST, FaultKind.STREAM_ERROR_MIDDLE):
            assert fault is not None
            text = fault.message or _ERROR_TEXTS.get(fault.type, "Internal server error")
            last = error_event(fault.type, text, self.exchange.request_id)
            return [last] if kind is FaultKind.STREAM_ERROR_FIRST else [*made[:middle], last]
        if kind in _CUT_OFF:
            return made[:middle]
        if kind is FaultKind.STREAM_UNKNOWN_EVENT:
            unknown = event({"type": "aurora", "intensity": 3}, self.answer.random, padded=False)
            return [*made[:middle], unknown, *made[middle:]]
        return made

    async def _write_in_time(self, made: list[bytes], packer: "zlib._Compress | None") -> None:
        reply, random = self.exchange.reply, self.answer.random
        step = self.answer.producing_s / max(1, len(made))
        group = max(1, int(WAKE_S / step)) if step > 0 else len(made)
        held = b""
        for first in range(0, len(made), group):
            data = b"".join(made[first : first + group])
            if packer is not None:
                data = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
            data = held + data
            # Segments end anywhere, even within a character.
            cut = len(data) - random.randrange(min(24, len(data)))
            reply.chunk(data[:cut])
            held = data[cut:]
            if step > 0:
                await asyncio.sleep(step * min(group, len(made) - first))
        reply.chunk(held if packer is None else held + packer.flush())

    def _headers(self) -> Headers:
        exchange, random = self.exchange, self.answer.random
        assert exchange.workspace is not None
        headers = self.state.headers.success(
            exchange.request_id, exchange.workspace, self.limits, random
        )
        if random.random() < self.state.settings.answers.retry_after_share:
            headers.append(("retry-after", str(random.randrange(1, 60))))
        return headers


_BEFORE_A_STREAM = frozenset(
    {FaultKind.HANG, FaultKind.RESET_BEFORE_HEADERS, FaultKind.HTML, FaultKind.BROKEN_JSON}
)
_CUT_OFF = frozenset(
    {
        FaultKind.STREAM_CUT,
        FaultKind.STREAM_RESET,
        FaultKind.RESET_IN_BODY,
        FaultKind.CUT_IN_BODY,
    }
)
_ERROR_TEXTS = {"overloaded_error": "Overloaded", "rate_limit_error": "Rate limited"}


async def _wait(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)
