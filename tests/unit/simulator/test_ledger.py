"""The log of calls."""

import json
from pathlib import Path

from services.simulator.ledger import Ledger, digest_of


def log(ledger: Ledger, count: int) -> None:
    """Log some calls."""
    for number in range(count):
        headers = {"x-sluice-request-id": f"r{number}", "x-sluice-attempt": "1"}
        call = ledger.begin("/v1/messages", headers, arrived=float(number))
        call.outcome = "ok" if number % 2 else "overloaded"
        ledger.end(call, number + 0.5)


def test_file_survives(tmp_path: Path) -> None:
    """Each call is in the file when it has ended, without closing it."""
    file = tmp_path / "deep" / "calls.jsonl"
    ledger = Ledger(file, kept=2)
    log(ledger, 5)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [1, 2, 3, 4, 5] == [line["n"] for line in lines]
    assert ("r0", None, "1") == (
        lines[0]["sluice_request_id"],
        lines[0]["sluice_generation"],
        lines[0]["sluice_attempt"],
    )
    ledger.close()


def test_latest_are_kept() -> None:
    """Memory holds the latest calls; numbering goes on."""
    ledger = Ledger(None, kept=3)
    log(ledger, 5)
    assert [3, 4, 5] == [json.loads(line)["n"] for line in ledger.lines().splitlines()]
    assert [5] == [json.loads(line)["n"] for line in ledger.lines(since=4).splitlines()]
    assert "" == ledger.lines(since=5)


def test_summary() -> None:
    """Counts are of all calls, those in flight included."""
    ledger = Ledger(None, kept=1)
    log(ledger, 3)
    ledger.begin("/v1/messages", {}, 9.0)
    expected = {"begun": 4, "ended": 3, "outcomes": {"ok": 1, "overloaded": 2}}
    assert expected == ledger.summary()
    ledger.forget()
    assert expected == ledger.summary()


def test_a_digest_is_of_the_content_alone() -> None:
    """The order of members changes nothing, any other letter does."""
    digest = digest_of([{"type": "text", "text": "Grüezi"}])
    assert digest == digest_of([{"text": "Grüezi", "type": "text"}])
    assert digest != digest_of([{"type": "text", "text": "Gruezi"}])
