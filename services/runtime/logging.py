"""Log lines: JSON for machines, readable on a terminal, and never a secret or content.

`configure` is called once by each process. Every line, ours and the libraries', is masked after it
is rendered, so no field, exception text or traceback can carry a secret past it. Content of a
request is kept out before it is rendered:

- a field named like content (`text`, `messages`, …) is never written;
- a line about a call (`call.…`) holds the fields of `CALL_FIELDS` and nothing else;
- so does every line while `data_classification` is `restricted` or `unknown` (a field, or bound as
  a context variable); its exceptions are reduced to their types and places and a library's words
  are left out, because either may quote its input.
"""

import json
import logging
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from pydantic_core import to_json
from structlog.types import EventDict, Processor

from services.runtime.redaction import mask
from services.runtime.settings import Environment, LogFormat, LogSettings

CONTENT_FIELDS: Final = frozenset({
    "arguments", "body", "chunk", "completion", "content", "input", "messages", "output",
    "output_schema", "payload", "prompt_text", "raw", "record", "rendered", "request", "response",
    "result", "system", "text", "thinking", "value", "variables",
})  # fmt: skip
"""Names under which content travels elsewhere; as log fields they are dropped."""
CALL_FIELDS: Final = frozenset({
    "api_error_type", "api_request_id", "api_status", "attempt", "cache_creation_input_tokens",
    "cache_read_input_tokens", "code", "conversation_id", "cost_usd", "crashes",
    "data_classification", "delay_s", "disposition", "generation", "group", "input_tokens",
    "key_id", "latency_ms", "model", "model_ms", "offset", "output_tokens", "partition", "priority",
    "prompt_name", "prompt_sha256", "prompt_version", "queued_ms", "reason", "repairs",
    "request_id", "retry_after_s", "stage", "stop_reason", "streamed", "tenant", "throttled_ms",
    "tier", "tools", "topic", "total_ms", "traceparent", "user", "variant", "verdict",
})  # fmt: skip
"""What a line about a call may say: names, ids, numbers and codes."""
_FRAME: Final = frozenset({
    "event", "level", "timestamp", "logger", "room", "exception", "dropped_fields",
})  # fmt: skip
UNKNOWN_CLASS: Final = "unknown"
"""The `data_classification` of what could not be read: as secret as the most secret."""
_RESTRICTED: Final = frozenset({"restricted", UNKNOWN_CLASS})


def configure(
    settings: LogSettings,
    environment: Environment,
    *,
    room: str,
    stream: TextIO | None = None,
) -> None:
    """Send the lines of this process and its libraries to a stream; default: standard error."""
    out = stream or sys.stderr
    readable = settings.format is LogFormat.CONSOLE or (
        settings.format is LogFormat.AUTO
        and environment is not Environment.PRODUCTION
        and out.isatty()
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Named(room),
        explain_exception,
        keep_content_out,
    ]
    render: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        if readable
        else _as_json
    )
    level: int = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=[*shared, render, _mask_line],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,  # module-level loggers follow a later configure
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        _MaskingFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *shared,
                render,
            ],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    # Below warning, libraries write whole bodies (botocore the secret, anthropic the prompt), and
    # some set their own logger's level from the environment: the handler has the last word.
    handler.setLevel(max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught


def explain_exception(_: object, __: str, event: EventDict) -> EventDict:
    """Turn `exc_info` into the text `exception`; without messages where content is restricted."""
    given = event.pop("exc_info", None)
    if not given:
        return event
    exc = given if isinstance(given, BaseException) else None
    if isinstance(given, tuple):
        exc = given[1]
    elif exc is None:
        exc = sys.exc_info()[1]
    if exc is not None:
        whole = event.get("data_classification") not in _RESTRICTED
        event["exception"] = (
            "".join(traceback.format_exception(exc)) if whole else "\n".join(_outline(exc))
        )
    return event


def keep_content_out(_: object, __: str, event: EventDict) -> EventDict:
    """Drop the fields that may hold content, and name them in `dropped_fields`."""
    strict = (
        event.get("data_classification") in _RESTRICTED
        or str(event.get("event", "")).startswith("call.")
    )  # fmt: skip
    dropped = [
        name
        for name in event
        if (strict and name not in CALL_FIELDS and name not in _FRAME) or name in CONTENT_FIELDS
    ]
    for name in dropped:
        del event[name]
    if event.get("data_classification") in _RESTRICTED and "logger" in event:
        event["event"] = "library.spoke"  # its words are not ours to vouch for
    if dropped:
        event["dropped_fields"] = sorted(dropped)
    return event


def _outline(exc: BaseException) -> Sequence[str]:
    """Name the exception and its causes by type and place, innermost last."""
    lines: list[str] = []
    one: BaseException | None = exc
    while one is not None and len(lines) < 64:  # noqa: PLR2004 -- a chain can be a ring
        lines.append(f"{type(one).__module__}.{type(one).__qualname__}")
        lines += [
            f"  at {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(one.__traceback__)
        ]
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return lines


def _as_json(_: object, __: str, event: EventDict) -> str:
    try:
        # Six times as fast as the standard library's, at a line for every call.
        return to_json(event, fallback=str).decode()
    except ValueError:  # bytes or lone surrogates that are no UTF-8
        return json.dumps(event, default=str, skipkeys=True)


def _mask_line(_: object, __: str, line: Any) -> str:
    return mask(line)


class _Named:
    """Adds which room speaks."""

    def __init__(self, room: str) -> None:
        self._room = room

    def __call__(self, _: object, __: str, event: EventDict) -> EventDict:
        event.setdefault("room", self._room)
        return event


class _MaskingFormatter(structlog.stdlib.ProcessorFormatter):
    """Renders lines of the standard library's logging like ours, and masks them."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


def _log_uncaught(
    kind: type[BaseException], exc: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, exc, trace)
        return
    structlog.get_logger().critical("process.crashed", exc_info=exc)
