"""What a plan means, what it leaves out and why, and what it would cost."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from services.ops.dead_letters.letter import Letter
from services.ops.dead_letters.selection import Selection
from services.ops.replay.allowance import Allowance, Exchange, SpareRate
from services.ops.replay.dry_run import DryRun, Ids
from services.ops.replay.edit import Edit
from services.ops.replay.learning import Usual, estimate
from services.ops.replay.plan import Handled, Plan, overlapping
from services.runtime.reading import Range
from sluice_contracts import Tier

NOW = datetime(2026, 11, 23, tzinfo=UTC)
BODY = b'{"request_id":"r","prompt":"triage@1"}'
TOPIC = "claude.dead-letters.haiku.v1"


def _letter(offset: int, body: bytes = BODY, **said: str) -> Letter:
    headers = {"x_failure_code": "refused", "x_request_id": f"r{offset}", **said}
    record: Any = ConsumerRecord(
        TOPIC, 0, offset, 1000 * offset, 0, b"k", body, None, 0, 0,
        tuple((name.replace("_", "-"), value.encode()) for name, value in headers.items()),
    )  # fmt: skip
    return Letter(Tier.HAIKU, record)


def _handled(plan_id: str, start: int, end: int, **given: Any) -> Handled:
    ranges = {TOPIC: {0: Range(start, end)}}
    given = {"selection": Selection(), "max_generation": 2, **given}
    return Handled(plan_id=plan_id, ranges=ranges, **given)


def _plan(**given: Any) -> Plan:
    defaults: dict[str, Any] = {
        "plan_id": "p", "created_at": NOW, "by": "ada", "why": "test", "selection": Selection(),
        "ranges": {TOPIC: {0: Range(0, 100)}}, "max_generation": 2,
    }  # fmt: skip
    return Plan(**{**defaults, **given})


def _why_left_out(plan: Plan, x_failure_code: str = "refused") -> str | None:
    return plan.judge()(_letter(1, x_failure_code=x_failure_code))


def test_what_would_fail_the_same_way_is_left_out_unless_it_is_named() -> None:
    """An edit may mend a request, but nothing that is none or that was taken back."""
    named = _plan(selection=Selection(codes=("cancelled",)))
    edited = _plan(edit=Edit(max_tokens=100))
    assert "hopeless" == _why_left_out(_plan(), x_failure_code="cancelled")
    assert "hopeless" == _why_left_out(_plan(), x_failure_code="context_too_long")
    assert _why_left_out(named, x_failure_code="cancelled") is None
    assert _why_left_out(edited, x_failure_code="context_too_long") is None
    assert "hopeless" == _why_left_out(edited, x_failure_code="invalid_event")


def test_what_was_left_out_as_hopeless_is_not_dealt_with() -> None:
    """A later plan that names it may send it."""
    earlier = _handled("a", 0, 100)
    later = _plan(selection=Selection(codes=("cancelled",)), handled=[earlier])
    assert "handled" == _why_left_out(later.model_copy(update={"selection": Selection()}))
    assert _why_left_out(later, x_failure_code="cancelled") is None


def test_what_is_meant_is_counted_and_sampled() -> None:
    """By cause and tier, with bytes, dates and the first few."""
    run = DryRun(_plan(), NOW)
    for letter in (_letter(1), _letter(2, x_failure_code="timed_out"), _letter(3)):
        run.add(letter)
    found = run.findings()
    assert (3, {"refused": {"haiku": 2}, "timed_out": {"haiku": 1}}, 3 * len(BODY)) == (
        found.selected,
        found.by_cause,
        found.bytes,
    )
    assert ["haiku/0/1", "haiku/0/2", "haiku/0/3"] == [each["place"] for each in found.samples]
    assert {(Tier.HAIKU, "triage@1"): 3} == run.counts


def test_what_is_left_out_has_a_reason() -> None:
    """Replayed too often, dealt with before, or spoilt by the edit."""
    edit = Edit(prompt="@2")
    run = DryRun(_plan(edit=edit, handled=[_handled("old", 5, 6)]), NOW)
    for letter in (_letter(1), _letter(2, x_generation="3"), _letter(5), _letter(7, b"[]")):
        run.add(letter)
    found = run.findings()
    assert (1, 1, 1, 1) == (found.selected, found.looped, found.handled, found.refused)
    assert ["haiku/0/7: the body is no JSON object, so it cannot be edited"] == found.refusals


def test_an_earlier_plan_has_not_dealt_with_what_it_refused() -> None:
    """An edit that makes no request of a dead letter leaves it to others."""
    earlier = _handled("old", 0, 10, edit=Edit(max_tokens=5)).test()
    assert earlier(_letter(1, b'{"request_id":"r1","prompt":"a"}'))
    assert not earlier(_letter(2, b"[]"))
    assert not earlier(_letter(20))


def test_what_is_sent_once_more_is_no_copy() -> None:
    """Each time a dead letter is sent it is another generation of its request."""
    plan = _plan(handled=[_handled("one", 0, 10), _handled("two", 0, 5)], again=True)
    generation, is_meant = plan.generation(), plan.test()
    assert [True] * 3 == [is_meant(_letter(offset)) for offset in (1, 7, 20)]
    assert [3, 2, 1] == [generation(_letter(offset)) for offset in (1, 7, 20)]
    assert 1 == _plan().generation()(_letter(1))


def test_twins_and_late_ones_are_pointed_out() -> None:
    """Both are sent if the plan is run; a person should know before."""
    run = DryRun(_plan(), NOW)
    run.add(_letter(1, x_root_id="same"))
    run.add(_letter(2, x_root_id="same"))
    run.add(_letter(3, b'{"deadline": "2026-11-22T00:00:00Z"}'))
    run.add(_letter(4, b'{"deadline": "2026-11-24T00:00:00Z"}'))
    found = run.findings()
    assert (1, 1) == (found.duplicates, found.past_deadline)


def test_ids_are_remembered_in_fixed_memory() -> None:
    """Of twenty thousand different ids hardly any is taken for another."""
    ids = Ids()
    assert sum(ids.has_seen(f"r{number}") for number in range(20_000)) <= 1
    assert all(ids.has_seen(f"r{number}") for number in range(0, 20_000, 97))


def test_a_plan_that_others_overtook_is_noticed() -> None:
    """Unless it knew of them, or they cannot mean the same."""
    other = _handled("other", 50, 150)
    assert ["other"] == overlapping(_plan(), [other])
    assert [] == overlapping(_plan(handled=[other]), [other])
    assert ["other"] == overlapping(_plan(handled=[_handled("other", 50, 60)]), [other])
    assert [] == overlapping(_plan(), [_handled("other", 100, 150)])
    assert [] == overlapping(_plan(), [_handled("p", 0, 100)])
    codes = _plan(selection=Selection(codes=("refused",)))
    disjoint = _handled("other", 0, 100, selection=Selection(codes=("timed_out",)))
    assert [] == overlapping(codes, [disjoint])


def _usual(count: int = 10) -> Usual:
    usual = Usual()
    for each in (usual.whole, usual.by_prompt.setdefault("triage", type(usual.whole)())):
        each.count, each.input_tokens, each.output_tokens = count, 1000, 200
        each.cost = Decimal("0.5")
    return usual


def test_costs_are_those_of_the_prompts_past() -> None:
    """Means of the outcomes that such requests had, over the whole allowance."""
    allowance = Allowance(limits=(60.0, 600.0, 6000.0), used=(0, 0, 0), waiting=0, is_held=False)
    found = estimate(
        {(Tier.HAIKU, "triage@1"): 20}, {Tier.HAIKU: 9}, {Tier.HAIKU: _usual()},
        {Tier.HAIKU: allowance},
    )  # fmt: skip
    assert found is not None
    assert (2000, 400, "1.0000", 10) == (
        found.input_tokens,
        found.output_tokens,
        found.cost,
        found.learnt_from,
    )
    assert (200.0, "haiku input tokens") == (found.drain_seconds, found.binding)


def test_without_a_past_the_cost_is_unknown() -> None:
    """Length tells a little about the input, nothing tells the price."""
    found = estimate({(Tier.OPUS, "-"): 2}, {Tier.OPUS: 400}, {Tier.OPUS: Usual()}, {})
    assert found is not None
    assert (100, None, None, None) == (
        found.input_tokens,
        found.output_tokens,
        found.cost,
        found.drain_seconds,
    )
    assert estimate({}, {}, {}, {}) is None


def _posted(key: bytes, value: bytes | None, at: float = 100.0) -> Any:
    class Posted:
        timestamp = at * 1000

    posted: Any = Posted()
    posted.key, posted.value = key, value
    return posted


def test_replicas_are_folded_into_one_allowance() -> None:
    """Their use is added; those that left or fell silent are not counted."""
    exchange = Exchange()
    one = b'{"replica":"a","groups":{"claude-haiku-5-5":{"used":[1,2,3],"limits":[120,1200,600]}}}'
    exchange.on_record(_posted(b"a", one))
    exchange.on_record(_posted(b"b", one))
    exchange.on_record(_posted(b"gone", one))
    exchange.on_record(_posted(b"gone", None))
    exchange.on_record(_posted(b"silent", one, at=50))
    exchange.on_record(_posted(b"odd", b"{"))
    found = exchange.allowance(Tier.HAIKU, now=101)
    assert Allowance((120, 1200, 600), (2, 4, 6), 0, is_held=False) == found
    assert pytest.approx(0.0) == (found.spare if found else None)
    assert exchange.allowance(Tier.OPUS, now=101) is None


def test_the_spare_rate_follows_what_is_left() -> None:
    """It grows while something is spare, shrinks when nothing is, and has a floor."""
    idle = Allowance((600, 6e4, 6e4), (1, 10, 10), 0, is_held=False)
    busy = Allowance((600, 6e4, 6e4), (10, 10, 10), 5, is_held=False)
    spare = SpareRate()
    for _ in range(30):
        spare.adjust(idle)
    assert 10.0 == spare.rate
    spare.adjust(busy)
    assert 7.0 == spare.rate
    for _ in range(30):
        spare.adjust(busy)
    assert 1.0 == spare.rate
    spare.rate = 5.0
    spare.adjust(None)
    assert 1.0 == spare.rate
