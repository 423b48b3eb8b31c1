"""The real inputs: tickets, contracts and conversations that nobody on this project wrote."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sluice_contracts import CompletionRequested, Tier

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Input:
    """A request and where it goes."""

    tier: Tier
    request: CompletionRequested


class DataMissingError(FileNotFoundError):
    """The shared data is not beside the checkout."""


def rows(name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of one of the shared files, for example `cuad/contracts`.

    Raises:
        DataMissingError: The file is not there.
    """
    path = SHARED / f"{name}.jsonl.gz"
    if not path.is_file():
        raise DataMissingError(f"{path} is missing: benchmarks read the data shared by the team")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def labels() -> list[str]:
    """List the intents of the tickets."""
    return sorted({row["label"] for row in rows("banking77/tickets")})


def tickets(limit: int | None = None) -> Iterator[Input]:
    """Yield support tickets for triage: small and many, haiku-like."""
    known = labels()
    for row in islice(rows("banking77/tickets"), limit):
        yield Input(
            Tier.HAIKU,
            CompletionRequested(
                request_id=row["id"],
                prompt="ticket-triage",
                variables={"text": row["text"], "labels": known},
                tenant="support",
            ),
        )


def contracts(limit: int | None = None) -> Iterator[Input]:
    """Yield whole contracts, once for review (sonnet) and once for their risks (opus)."""
    for row in islice(rows("cuad/contracts"), limit):
        for tier, prompt, more in (
            (Tier.SONNET, "contract-review", {}),
            (Tier.OPUS, "contract-risk", {"party": "the party that did not draft the contract"}),
        ):
            yield Input(
                tier,
                CompletionRequested(
                    request_id=f"{row['id']}-{prompt}",
                    prompt=prompt,
                    variables={"contract": row["text"], **more},
                    tenant="legal",
                ),
            )


def first_turns(limit: int | None = None) -> Iterator[Input]:
    """Yield the opening turns of the two-turn conversations."""
    for row in islice(rows("mt_bench/questions"), limit):
        yield _turn(row, 1, [{"role": "user", "content": row["turns"][0]}])


def second_turn(row: dict[str, Any], answer: str) -> Input:
    """Make the second turn of a conversation, which needs the answer to the first."""
    first, second = row["turns"]
    return _turn(
        row,
        2,
        [
            {"role": "user", "content": first},
            {"role": "assistant", "content": answer},
            {"role": "user", "content": second},
        ],
    )


def _turn(row: dict[str, Any], number: int, messages: list[dict[str, Any]]) -> Input:
    return Input(
        Tier.SONNET,
        CompletionRequested.model_validate(
            {
                "request_id": f"mt-{row['question_id']}-{number}",
                "conversation_id": f"mt-{row['question_id']}",
                "messages": messages,
                "tenant": "chat",
            }
        ),
    )
