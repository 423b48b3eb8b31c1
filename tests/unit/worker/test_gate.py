"""The gate keeps a tier from spending records, and a canary opens it."""

import asyncio
from collections.abc import Iterator

import pytest

from services.runtime.metrics import Metrics
from services.worker.errors import FatalError, NotNow, SluiceError, TransientError
from services.worker.gate import Gate
from services.worker.settings import GuardSettings
from sluice_contracts import FailureCode as F
from sluice_contracts import Tier

pytestmark = pytest.mark.looptime
DENIED = FatalError(F.NOT_AUTHORISED, "wrong key")


class Canary:
    """Sings what it is told, call by call, then sings well."""

    def __init__(self, *ends: SluiceError) -> None:
        self._ends: Iterator[SluiceError] = iter(ends)
        self.calls: list[float] = []

    async def __call__(self) -> None:
        """Make the call."""
        self.calls.append(asyncio.get_running_loop().time())
        for end in self._ends:
            raise end


def _gate(canary: Canary, metrics: Metrics | None = None) -> Gate:
    return Gate(Tier.HAIKU, canary, GuardSettings(), metrics or Metrics("test"))


async def _opening(gate: Gate) -> float:
    """Wait until something passes; return for how long nothing did, in whole seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not gate.takes:  # noqa: ASYNC110 -- nobody waits at a gate but this test
        await asyncio.sleep(0.1)
    return round(loop.time() - began)


async def test_the_first_canary_is_sent_at_once_and_the_others_ever_more_rarely() -> None:
    """A mended key is noticed soon, a lasting trouble costs little."""
    canary = Canary(*[DENIED] * 6)
    async with _gate(canary) as gate:
        assert gate.close(DENIED, began=0)
        assert "not_authorised: wrong key" == gate.reason
        await _opening(gate)
    first, *later = canary.calls
    assert [5, 15, 35, 75, 135, 195] == [round(at - first) for at in later]
    assert gate.reason is None


async def test_nobody_waits_at_it() -> None:
    """A visitor is told to come again after the next canary, at the latest in a minute or so."""
    canary = Canary(*[DENIED] * 9)
    async with _gate(canary) as gate:
        gate.enter("somebody")
        gate.close(DENIED, began=0)
        for pause in (0, 5, 10, 20, 40, 60):
            with pytest.raises(NotNow) as caught:
                gate.enter("somebody")
            # The steps of a thousandth below add up, and what is left of the pause is so much less.
            assert pause + 1 - 0.01 <= caught.value.delay <= pause + 2
            assert not gate.takes
            await asyncio.sleep(pause + 0.001)


async def test_an_answer_that_only_says_wait_opens_the_gate() -> None:
    """Key, wallet and model work; the throttle deals with the rest."""
    canary = Canary(TransientError(F.RATE_LIMITED, "later"))
    async with _gate(canary) as gate:
        gate.close(DENIED, began=0)
        await _opening(gate)
    assert 1 == len(canary.calls)


async def test_silence_says_nothing() -> None:
    """A canary that nobody answers leaves the gate closed."""
    canary = Canary(TransientError(F.TIMED_OUT, "nothing came"))
    async with _gate(canary) as gate:
        gate.close(DENIED, began=0)
        await _opening(gate)
    assert 2 == len(canary.calls)


async def test_an_error_older_than_the_opening_does_not_close_it_again() -> None:
    """Calls in flight when the key was mended still fail."""
    async with _gate(Canary()) as gate:
        gate.close(DENIED, began=0)
        await _opening(gate)
        now = asyncio.get_running_loop().time()
        assert not gate.close(DENIED, began=now - 1)
        assert gate.close(DENIED, began=now + 1)


async def test_after_a_run_of_dead_letters_one_passes_at_a_time() -> None:
    """A canary cannot see a broken prompt: only a request that succeeds proves anything."""
    async with _gate(Canary()) as gate:
        gate.alarm(F.OUTPUT_INVALID, "a run")
        assert 5 == await _opening(gate)
        gate.enter("first")
        assert not gate.takes
        with pytest.raises(NotNow) as caught:
            gate.enter("second")
        assert 1 <= caught.value.delay <= 11
        gate.leave("first")  # it came to no result: parked, or a copy
        gate.enter("second")
        gate.succeeded("somebody who was in flight before")
        assert not gate.takes
        gate.succeeded("second")
        assert (True, None) == (gate.takes, gate.reason)


async def test_one_that_fails_like_the_run_closes_it_for_longer() -> None:
    """Each trial costs one request; a failure of another cause says nothing of the run's."""
    waits = []
    async with _gate(Canary()) as gate:
        gate.alarm(F.OUTPUT_INVALID, "a run")
        for _ in range(6):
            waits.append(await _opening(gate))
            gate.enter("one")
            gate.failed("one", F.REFUSED)
            assert not gate.is_closed
            gate.failed("one", F.OUTPUT_INVALID)
            assert gate.is_closed
        await _opening(gate)
        gate.enter("one")
        gate.succeeded("one")
        gate.alarm(F.OUTPUT_INVALID, "another run")
        waits.append(await _opening(gate))
    assert [5, 10, 20, 40, 60, 60, 5] == waits


async def test_alarms_while_it_is_closed_change_nothing() -> None:
    """What was in flight fails on; that is no reason to stay closed for longer."""
    async with _gate(Canary()) as gate:
        for _ in range(9):
            gate.alarm(F.OUTPUT_INVALID, "a run")
        assert 5 == await _opening(gate)


async def test_a_fatal_error_on_trial_leaves_the_doubt() -> None:
    """The mended key says nothing about the broken prompt."""
    async with _gate(Canary()) as gate:
        gate.alarm(F.OUTPUT_INVALID, "a run")
        await _opening(gate)
        gate.enter("one")
        assert gate.close(DENIED, began=asyncio.get_running_loop().time())
        assert "not_authorised: wrong key" == gate.reason
        await _opening(gate)
        assert "output_invalid: a run" == gate.reason
        gate.enter("two")
        assert not gate.takes


async def test_the_metric_says_whether_it_stands_open() -> None:
    """By tier and cause, for the alert; half-open is not open."""
    metrics = Metrics("test")

    def shown(code: F) -> float | None:
        labels = {"tier": "haiku", "code": str(code)}
        return metrics.registry.get_sample_value("sluice_gate_closed", labels)

    async with _gate(Canary(), metrics) as gate:
        gate.close(DENIED, began=0)
        assert 1 == shown(F.NOT_AUTHORISED)
        await _opening(gate)
        assert 0 == shown(F.NOT_AUTHORISED)
        gate.alarm(F.REFUSED, "a run")
        await _opening(gate)
        assert 1 == shown(F.REFUSED)
        gate.enter("one")
        gate.succeeded("one")
        assert 0 == shown(F.REFUSED)
