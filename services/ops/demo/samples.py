"""What the demo asks: support messages for haiku, contracts for sonnet and opus, and broken events.

The texts are made up. Each round asks them again under other ids.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from services.ops.audit import SOURCE
from sluice_contracts import CompletionRequested, Encoded, Tier, encode

_TICKETS: Final = (
    "My card was swallowed by the machine at the station and I travel tomorrow. What now?",
    "Why was I charged twice for the same coffee? It was one coffee.",
    "The app shows a transfer of 1,200 that I never made. Please stop it at once!",
    "How long does it take until my salary shows up after a transfer from another bank?",
    "I moved to another country. Can I keep my account?",
    "Your new savings pots are lovely, thank you.",
    "I typed the wrong PIN three times and now the card is blocked.",
    "Which exchange rate did you use for my payment in yen yesterday?",
    "I ordered a replacement card three weeks ago and nothing has come.",
    "Ich kann mich seit dem Update nicht mehr anmelden, der Code kommt nie an.",
    "Somebody phoned me and said they were you. I gave them the code from the text message.",
    "Can my daughter, who is fifteen, have an account of her own?",
    "The cash machine gave me 40 but took 100 from my balance.",
    "I want to close my account and be sure that my data is deleted.",
    "Apple Pay refuses the card although it works in the shop.",
    "Is there a fee when I top up with a credit card?",
)
_LABELS: Final = (
    "card_swallowed", "card_blocked", "card_delivery", "charged_twice", "fraud", "transfer_timing",
    "account_eligibility", "login", "cash_withdrawal", "exchange_rate", "fees", "mobile_payment",
    "close_account", "praise",
)  # fmt: skip
_CONTRACTS: Final = (
    """SUPPLY AGREEMENT between Northwind Mills Ltd ("Supplier") and Harbour Bakeries plc ("Buyer"),
made on 3 March 2025. 1. The Supplier delivers 400 tonnes of flour a month, ex works. 2. The
price is fixed for twelve months and then follows the wheat index, without a cap. 3. The
agreement runs for three years and renews for one year at a time unless either side gives
notice of six months. 4. The Supplier's liability is limited to the price of the delivery
concerned. 5. The Buyer buys no flour from others while the agreement runs. 6. The law of
Denmark governs; the courts of Aarhus decide.""",
    """SOFTWARE LICENCE between Petrel Systems GmbH ("Licensor") and City of Ghent ("Licensee"),
dated 12 January 2026. 1. The Licensor grants a licence for 250 named users, not
transferable. 2. Support answers within one working day; there are no service credits. 3. The
Licensor may change the fees once a year by notice of thirty days. 4. The Licensee's data may
be used to improve the product. 5. Either party may end the agreement for convenience at the
end of a calendar year. 6. Liability is excluded to the extent that the law allows. Governing
law: Belgium.""",
    """LEASE of an office of 640 square metres, Quay Street 8, between Arden Estates ("Landlord")
and Blue Heron Studio ("Tenant"). 1. Ten years from 1 June 2025; the Tenant may leave after
five against a payment of nine months' rent. 2. The rent rises every year by the consumer
price index, by at least two and at most six percent. 3. The Tenant repairs everything but
roof and walls. 4. Assignment needs the Landlord's consent, which may be withheld for any
reason. 5. Deposit: six months' rent.""",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A record to publish, and the tier whose topic it goes to."""

    tier: Tier
    record: Encoded


def samples(run: str, count: int, *, now: datetime | None = None) -> list[Sample]:
    """Make `count` valid requests, three quarters of them for haiku, mixed as they would arrive."""
    date = now or datetime.now(UTC)
    return [_sample(f"{run}-{number:04d}", number, date) for number in range(count)]


def _sample(request_id: str, number: int, now: datetime) -> Sample:
    kind = number % 16
    if kind == 7:  # noqa: PLR2004 - one in sixteen
        return _ask(Tier.OPUS, request_id, now, "contract-risk", {
            "contract": _CONTRACTS[number % 3], "party": "the second party named",
        })  # fmt: skip
    if kind % 5 == 4:  # noqa: PLR2004 - three in sixteen
        return _ask(
            Tier.SONNET, request_id, now, "contract-review", {"contract": _CONTRACTS[number % 3]}
        )
    return _ask(Tier.HAIKU, request_id, now, "ticket-triage", {
        "text": _TICKETS[number % len(_TICKETS)], "labels": list(_LABELS),
        "product": "a bank without branches",
    })  # fmt: skip


def _ask(
    tier: Tier, request_id: str, now: datetime, prompt: str, variables: dict[str, Any],
    *, deadline: datetime | None = None,
) -> Sample:  # fmt: skip
    request = CompletionRequested(
        request_id=request_id, prompt=prompt, variables=variables, tenant="demo", deadline=deadline
    )
    return Sample(tier, encode(request, source=SOURCE, time=now, event_id=request_id))


def broken(run: str, *, now: datetime | None = None) -> Iterator[Sample]:
    """Make records that must fail without a call: each ends as one failed outcome."""
    date = now or datetime.now(UTC)
    torn = json.dumps({"request_id": f"{run}-torn", "prompt": "ticket-triage"}).encode()[:-9]
    yield Sample(Tier.HAIKU, Encoded(b"torn", torn, ()))
    yield _ask(Tier.HAIKU, f"{run}-unknown-prompt", date, "tickett-riage", {"text": "Hello?"})
    yield _ask(Tier.SONNET, f"{run}-nothing-to-read", date, "contract-review", {})
    yield _ask(
        Tier.HAIKU, f"{run}-too-late", date, "ticket-triage", {"text": "Hello?"},
        deadline=date - timedelta(minutes=1),
    )  # fmt: skip
