"""The Markdown tables of the reference: what code already says, for people."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from sluice_contracts import CATALOGUE, FailureCode, Topic
from sluice_contracts.headers import MEANINGS

_GENERATED: Final = "<!-- Written by `make generate`; do not edit. -->\n"


def topics() -> str:
    """Return the page about the topics."""
    rows = [
        (
            f"`{topic.name}`",
            topic.summary,
            topic.key,
            ", ".join(topic.writers),
            ", ".join(topic.readers),
            str(topic.partitions),
            _retention(topic),
            _size(topic.max_message_bytes),
            "<br>".join(f"`{event}`" for event in topic.events),
        )
        for topic in CATALOGUE
    ]
    head = (
        "topic", "holds", "key", "written by", "read by", "partitions", "kept", "largest record",
        "events",
    )  # fmt: skip
    intro = (
        "Every topic of Sluice. The request, result and dead-letter topics of a tier have the\n"
        "same number of partitions: an outcome lands on the partition number of its request.\n"
        "The number is a setting; the one below is the default."
    )
    return _page("Topics", intro, head, rows)


def failure_codes() -> str:
    """Return the page about the failure codes."""
    intro = (
        "Why a request failed: `failure.code` of a `CompletionFailed`, `x-failure-code` of its\n"
        "dead letter, the `code` label of the metrics. Codes are stable within a major version;\n"
        "readers treat one that they do not know as `internal_error`."
    )
    rows = [(f"`{code}`", code.meaning) for code in FailureCode]
    return _page("Failure codes", intro, ("code", "meaning and remedy"), rows)


def headers() -> str:
    """Return the page about the record headers."""
    intro = (
        "Records are CloudEvents 1.0 in Kafka binary mode. Upstream needs none of these headers:\n"
        "a bare JSON value on a request topic is a request. Values are UTF-8 text."
    )
    rows = [(f"`{name}`", meaning) for name, meaning in MEANINGS.items()]
    return _page("Headers", intro, ("header", "meaning"), rows)


def _page(title: str, intro: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return f"{_GENERATED}\n# {title}\n\n{intro}\n\n{table}"


def _retention(topic: Topic) -> str:
    if topic.retention is None:
        return "the latest of each key"
    days = topic.retention / timedelta(days=1)
    return f"{days:g} day{'' if days == 1 else 's'}"


def _size(count: int) -> str:
    return f"{count / 2**20:.3g} MiB"
