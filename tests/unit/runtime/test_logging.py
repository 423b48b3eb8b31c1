"""What reaches a log line, and what cannot."""

import io
import json
import logging as stdlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from services.runtime.logging import configure
from services.runtime.redaction import MASK, remember
from services.runtime.settings import Environment, LogFormat, LogLevel, LogSettings

KEY = "sk-ant-api03-unit-LOGGED-0123456789"
KNOWN = "plain-but-secret-value"
CONTENT = "the customer's very private words"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Claim to be one."""
        return True


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Leave logging as it was."""
    root = stdlib.getLogger()
    handlers, level, hook = root.handlers[:], root.level, sys.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook = hook
    stdlib.captureWarnings(capture=False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def opened(
    level: LogLevel = LogLevel.INFO,
    log_format: LogFormat = LogFormat.JSON,
    environment: Environment = Environment.PRODUCTION,
    stream: io.StringIO | None = None,
) -> io.StringIO:
    """Send lines to a buffer."""
    lines = stream or io.StringIO()
    settings = LogSettings(level=level, format=log_format)
    configure(settings, environment, room="worker", stream=lines)
    return lines


def fail(error: Exception) -> None:
    """Raise."""
    raise error


def last(lines: io.StringIO) -> dict[str, Any]:
    """Parse the last line."""
    parsed: dict[str, Any] = json.loads(lines.getvalue().splitlines()[-1])
    return parsed


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
@pytest.mark.parametrize("secret", [KEY, KNOWN, 'quote"d\\secret'])
def test_a_secret_is_masked_wherever_it_stands(log_format: LogFormat, secret: str) -> None:
    """Event, field, nested value, key, exception text and a library's words are all masked."""
    if secret != KEY:
        remember(secret)
    lines = opened(log_format=log_format)
    log = structlog.get_logger()
    log.info("thing.done", value_of=secret, nested={"a": [{"b": secret}], secret: 1})
    event = f"thing.{secret}"
    log.info(event)
    try:
        fail(ValueError(f"cannot use {secret}"))
    except ValueError:
        log.exception("thing.failed")
        stdlib.getLogger("library").exception("went wrong with %s", secret, extra={"key": secret})

    text = lines.getvalue()
    assert secret not in text
    assert json.dumps(secret)[1:-1] not in text
    assert text.count(MASK) >= 6


@pytest.mark.parametrize(
    "odd", [b"\xff" + KEY.encode(), KEY.encode(), {KEY: "\ud83d"}, {("a", KEY)}, object]
)
def test_an_odd_value_is_written_and_masked(odd: object) -> None:
    """Bytes, lone surrogates, sets and classes do not break a line, nor hide a secret in it."""
    lines = opened()
    structlog.get_logger().info("thing.done", odd=odd)

    assert last(lines)["event"] == "thing.done"
    assert KEY not in lines.getvalue()


def test_an_uncaught_exception_is_masked() -> None:
    """The traceback of a crash goes through the log and is masked like any other."""
    lines = opened()
    try:
        fail(RuntimeError(f"crash with {KEY}"))
    except RuntimeError as exc:
        sys.excepthook(type(exc), exc, exc.__traceback__)

    assert last(lines)["event"] == "process.crashed"
    assert "RuntimeError" in last(lines)["exception"]
    assert KEY not in lines.getvalue()


@pytest.mark.parametrize("field", ["text", "messages", "content", "output", "variables", "system"])
def test_content_is_not_a_field(field: str) -> None:
    """A field named like content is dropped from any line, and named."""
    lines = opened()
    structlog.get_logger().warning("thing.done", **{field: CONTENT}, request_id="r-1")

    assert CONTENT not in lines.getvalue()
    assert [field] == last(lines)["dropped_fields"]
    assert last(lines)["request_id"] == "r-1"


def test_a_call_line_holds_known_fields_only() -> None:
    """A line about a call keeps the whitelist and drops what is not on it."""
    lines = opened()
    structlog.get_logger().info(
        "call.completed", model="m", input_tokens=3, tenant="t", disposition="done", said=CONTENT
    )

    line = last(lines)
    assert CONTENT not in lines.getvalue()
    assert ("m", 3, "t", "done") == tuple(
        line[name] for name in ("model", "input_tokens", "tenant", "disposition")
    )
    assert ["said"] == line["dropped_fields"]


@pytest.mark.parametrize("bound", [True, False])
def test_restricted_content_does_not_leak_through_an_exception(*, bound: bool) -> None:
    """With restricted data an exception is told by type and place, not by its message."""
    lines = opened()
    if bound:
        structlog.contextvars.bind_contextvars(data_classification="restricted")
    fields = {} if bound else {"data_classification": "restricted"}
    try:
        try:
            fail(KeyError(CONTENT))
        except KeyError as exc:
            raise ValueError(CONTENT) from exc
    except ValueError:
        structlog.get_logger().exception("handle.failed", note=CONTENT, **fields)

    assert CONTENT not in lines.getvalue()
    assert "builtins.ValueError" in last(lines)["exception"]
    assert "builtins.KeyError" in last(lines)["exception"]
    assert "test_logging.py" in last(lines)["exception"]


def test_a_library_is_silent_about_restricted_data() -> None:
    """While restricted data is handled, a library's line keeps its level and loses its words."""
    lines = opened()
    structlog.contextvars.bind_contextvars(data_classification="restricted")
    stdlib.getLogger("library").error("cannot parse %s", CONTENT, extra={"given": CONTENT})

    assert CONTENT not in lines.getvalue()
    assert ("library.spoke", "error", "library") == tuple(
        last(lines)[name] for name in ("event", "level", "logger")
    )


def test_libraries_speak_at_warning_and_above() -> None:
    """A library's debug lines hold whole bodies and are dropped, whatever it sets itself to."""
    lines = opened(level=LogLevel.DEBUG)
    noisy = stdlib.getLogger("anthropic.noisy")
    noisy.setLevel(stdlib.DEBUG)
    noisy.debug(CONTENT)
    noisy.info(CONTENT)
    structlog.get_logger().debug("thing.seen")

    assert CONTENT not in lines.getvalue()
    assert last(lines)["event"] == "thing.seen"


@pytest.mark.parametrize(
    ("log_format", "environment", "stream", "readable"),
    [
        (LogFormat.AUTO, Environment.DEVELOPMENT, Terminal(), True),
        (LogFormat.AUTO, Environment.PRODUCTION, Terminal(), False),
        (LogFormat.AUTO, Environment.DEVELOPMENT, io.StringIO(), False),
        (LogFormat.CONSOLE, Environment.PRODUCTION, io.StringIO(), True),
        (LogFormat.JSON, Environment.DEVELOPMENT, Terminal(), False),
    ],
)
def test_lines_are_readable_on_a_terminal_and_json_elsewhere(
    log_format: LogFormat, environment: Environment, stream: io.StringIO, *, readable: bool
) -> None:
    """`auto` is readable on a terminal outside production; the two others are what they say."""
    lines = opened(log_format=log_format, environment=environment, stream=stream)
    structlog.get_logger().info("thing.done", number=1)

    assert readable is not lines.getvalue().startswith("{")
    assert "thing.done" in lines.getvalue()


def test_a_line_says_when_where_and_how_severe() -> None:
    """Every line carries a UTC time stamp, the room and the level."""
    lines = opened()
    structlog.get_logger().warning("thing.done")

    line = last(lines)
    assert line["timestamp"].endswith("Z")
    assert ("worker", "warning") == (line["room"], line["level"])
