"""The limiter on a clock that the test turns."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.simulator.limiter import Grant, Limiter, Limits, Reason, Refusal, Remaining
from services.simulator.ramp import Ramp

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock at an odd hour."""
    return Clock()


def granted(verdict: Grant | Refusal) -> Grant:
    """Return the grant, or fail."""
    assert isinstance(verdict, Grant)
    return verdict


def refused(verdict: Grant | Refusal) -> Refusal:
    """Return the refusal, or fail."""
    assert isinstance(verdict, Refusal)
    return verdict


def test_requests_run_out(clock: Clock) -> None:
    """A full bucket of requests lets a minute's worth in at once, and the next has to wait."""
    limiter = Limiter(Limits(60, 1e6, 1e6), clock=clock)
    for _ in range(60):
        granted(limiter.admit(1))
    assert Refusal(Reason.REQUESTS, 1, 60) == limiter.admit(1)
    clock.now += 1
    granted(limiter.admit(1))


def test_small_burst(clock: Clock) -> None:
    """A burst of a second holds a sixtieth of the limit."""
    limiter = Limiter(Limits(600, 1e6, 1e6), burst_s=1, clock=clock)
    for _ in range(10):
        granted(limiter.admit(1))
    refused(limiter.admit(1))


def test_one_request_always_fits(clock: Clock) -> None:
    """Even a burst of less than one request lets one in."""
    limiter = Limiter(Limits(60, 1e6, 1e6), burst_s=0.25, clock=clock)
    granted(limiter.admit(1))


def test_larger_than_the_burst(clock: Clock) -> None:
    """What exceeds the burst but not the limit is let in by a full bucket and leaves a debt."""
    limiter = Limiter(Limits(600, 60_000, 1e6), burst_s=1, clock=clock)
    granted(limiter.admit(30_000))
    assert Refusal(Reason.INPUT_TOKENS, 30, 60_000) == limiter.admit(1)
    clock.now += 30
    granted(limiter.admit(1))


def test_oversize(clock: Clock) -> None:
    """What exceeds the limit is never let in, and nobody says when to come back."""
    limiter = Limiter(Limits(600, 60_000, 1e6), clock=clock)
    assert Refusal(Reason.OVERSIZE, None, 60_000) == limiter.admit(60_001)
    assert 1 == limiter.account.total.refused_oversize


def test_corrected_input(clock: Clock) -> None:
    """A corrected estimate changes what is left."""
    limiter = Limiter(Limits(600, 60_000, 1e6), clock=clock)
    grant = granted(limiter.admit(10_000))
    grant.correct_input(4_000)
    assert 56_000 == limiter.input_tokens.level
    assert 4_000 == limiter.account.total.input_tokens


def test_output_is_charged_while_produced(clock: Clock) -> None:
    """Half of the time, half of the tokens."""
    limiter = Limiter(Limits(600, 1e6, 60), clock=clock)
    grant = granted(limiter.admit(1))
    grant.produce(1_000, seconds=10, after=2)
    clock.now += 2
    limiter.output_tokens.advance(clock.now)
    assert 60 == limiter.output_tokens.level
    clock.now += 5
    limiter.output_tokens.advance(clock.now)
    assert 500 == pytest.approx(limiter.account.total.output_tokens)
    assert 60 - 500 + 5 == pytest.approx(limiter.output_tokens.level)


def test_output_debt_refuses(clock: Clock) -> None:
    """While output is in debt nobody is let in."""
    limiter = Limiter(Limits(600, 1e6, 600), burst_s=1, clock=clock)
    granted(limiter.admit(1)).produce(110, seconds=0)
    assert Refusal(Reason.OUTPUT_TOKENS, 11, 600) == limiter.admit(1)
    clock.now += 10.5
    granted(limiter.admit(1))


def test_interrupted_production(clock: Clock) -> None:
    """What a closed connection never received is not charged."""
    limiter = Limiter(Limits(600, 1e6, 1e6), clock=clock)
    grant = granted(limiter.admit(1))
    grant.produce(1_000, seconds=10)
    clock.now += 4
    assert 600 == pytest.approx(grant.finish())
    clock.now += 60
    limiter.output_tokens.advance(clock.now)
    assert 400 == pytest.approx(limiter.account.total.output_tokens)
    assert 0.0 == grant.finish()


def test_concurrency(clock: Clock) -> None:
    """The limit of calls in flight says nothing about when to come back."""
    limiter = Limiter(Limits(600, 1e6, 1e6), concurrency=1, clock=clock)
    grant = granted(limiter.admit(1))
    assert Refusal(Reason.CONCURRENCY, None, 0) == limiter.admit(1)
    grant.finish()
    granted(limiter.admit(1))


def test_changed_limits(clock: Clock) -> None:
    """Limits that change while running keep what was used."""
    limiter = Limiter(Limits(600, 60_000, 1e6), clock=clock)
    granted(limiter.admit(20_000))
    limiter.change(Limits(300, 30_000, 1e6))
    assert 10_000 == limiter.input_tokens.level
    limiter.change(Limits(600, 60_000, 1e6))
    assert 40_000 == limiter.input_tokens.level


def test_foreign_use(clock: Clock) -> None:
    """Traffic of others drains the same buckets and is counted apart."""
    limiter = Limiter(Limits(600, 60_000, 1e6), clock=clock)
    granted(limiter.admit(60_000))
    limiter.foreign(Limits(60, 45_000, 0))
    clock.now += 60
    limiter.settle_foreign()
    assert 15_000 == pytest.approx(limiter.input_tokens.level)
    assert 45_000 == pytest.approx(limiter.account.total.foreign_input_tokens)
    assert 60 == pytest.approx(limiter.account.total.foreign_requests)


def test_ramp(clock: Clock) -> None:
    """Sharp growth is refused with a time to wait; the same load grown steadily is not."""
    limits = Limits(1e6, 6_000_000, 1e9)
    sharp = Limiter(limits, ramp=Ramp(growth=2, floor=0.1), clock=clock)
    reasons = {
        verdict.reason
        for verdict in (sharp.admit(10_000) for _ in range(20))
        if isinstance(verdict, Refusal)
    }
    assert {Reason.RAMP} == reasons
    steady = Limiter(limits, ramp=Ramp(growth=2, floor=0.1), clock=clock)
    share = 0.05
    for _ in range(1_200):
        clock.now += 0.1
        share = min(0.9, share * 1.0015)
        granted(steady.admit(share * 100_000 * 0.1))


@pytest.mark.parametrize(
    ("remaining", "shown"),
    [
        (Remaining.DEFICIT, "59994000"),
        (Remaining.LEVEL, "994000"),
        (Remaining.SCALED, "59640000"),
    ],
)
def test_three_meanings_of_remaining(clock: Clock, remaining: Remaining, shown: str) -> None:
    """With a small burst the headers can mean one of three things."""
    limits = Limits(600, 60_000_000, 1e6)
    limiter = Limiter(limits, burst_s=1, remaining=remaining, clock=clock)
    granted(limiter.admit(6_000))
    headers = limiter.headers(NOW)
    assert shown == headers["anthropic-ratelimit-input-tokens-remaining"]
    assert "60000000" == headers["anthropic-ratelimit-input-tokens-limit"]
    assert "2026-11-23T12:00:01Z" == headers["anthropic-ratelimit-input-tokens-reset"]


def test_headers(clock: Clock) -> None:
    """There are twelve headers; tokens are rounded to thousands and never negative."""
    limiter = Limiter(Limits(50, 50_000, 10_000), clock=clock)
    granted(limiter.admit(1_400)).produce(12_000, seconds=0)
    headers = limiter.headers(NOW)
    assert 12 == len(headers)
    assert "49" == headers["anthropic-ratelimit-requests-remaining"]
    assert "49000" == headers["anthropic-ratelimit-input-tokens-remaining"]
    assert "0" == headers["anthropic-ratelimit-output-tokens-remaining"]
    assert "60000" == headers["anthropic-ratelimit-tokens-limit"]
    assert "49000" == headers["anthropic-ratelimit-tokens-remaining"]
    assert "2026-11-23T12:01:12Z" == headers["anthropic-ratelimit-output-tokens-reset"]


def test_full_headers(clock: Clock) -> None:
    """An oversize refusal shows full buckets."""
    limiter = Limiter(Limits(50, 50_000, 10_000), clock=clock)
    granted(limiter.admit(1_400))
    headers = limiter.headers(NOW, full=True)
    assert "50" == headers["anthropic-ratelimit-requests-remaining"]
    assert "2026-11-23T12:00:00Z" == headers["anthropic-ratelimit-requests-reset"]


def test_output_header_is_brought_up_to_date(clock: Clock) -> None:
    """An answer shows input as it was at arrival and output as it is now."""
    limiter = Limiter(Limits(600, 600_000, 600_000), clock=clock)
    grant = granted(limiter.admit(100_000))
    at_arrival = limiter.headers(NOW)
    grant.produce(200_000, seconds=0)
    later = limiter.with_output(at_arrival, NOW)
    assert "500000" == later["anthropic-ratelimit-input-tokens-remaining"]
    assert "400000" == later["anthropic-ratelimit-output-tokens-remaining"]
    assert "900000" == later["anthropic-ratelimit-tokens-remaining"]


def test_refusals_may_cost_a_request(clock: Clock) -> None:
    """With the switch on, a refusal uses up a request."""
    limiter = Limiter(Limits(600, 1_000, 1e6), refused_cost_request=True, clock=clock)
    refused(limiter.admit(2_000))
    assert 599 == limiter.requests.level


@settings(max_examples=50, deadline=None)
@given(
    burst=st.sampled_from([0.25, 1.0, 5.0, 60.0]),
    calls=st.lists(
        st.tuples(st.floats(0, 2), st.integers(1, 2_000), st.integers(0, 900), st.floats(0, 3)),
        max_size=200,
    ),
)
def test_never_more_than_the_allowance(
    burst: float, calls: list[tuple[float, int, int, float]]
) -> None:
    """In no window is more let in than the refill, the burst and the last request's debt."""
    clock = Clock()
    limiter = Limiter(Limits(600, 60_000, 6_000), burst_s=burst, clock=clock)
    admitted: list[tuple[float, int]] = []
    for wait, tokens, output, seconds in calls:
        clock.now += wait
        verdict = limiter.admit(tokens)
        if isinstance(verdict, Grant):
            admitted.append((clock.now, tokens))
            verdict.produce(output, seconds=seconds)
    for first, (start, _) in enumerate(admitted):
        total = 0
        for at, tokens in admitted[first:]:
            total += tokens
            allowed = 1_000 * (burst + at - start) + max(0, tokens - 1_000 * burst)
            assert total <= allowed + 2_000
    produced = sum(output for _, _, output, _ in calls)
    assert limiter.account.total.output_tokens <= produced + 1e-6
    assert limiter.account.total.input_tokens == sum(tokens for _, tokens in admitted)
