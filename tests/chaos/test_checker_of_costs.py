"""What calls cost, and healing: broken promises are found, and what breaks none is pardoned."""

from dataclasses import replace

import pytest

from tests.chaos.breaking import (
    Mutation,
    both,
    but,
    called,
    committed,
    fated,
    faulty,
    given,
    more,
    output,
    written,
)
from tests.chaos.checker import check
from tests.chaos.good import (
    CALLERS,
    LETTERS,
    OTHER,
    RELAYS,
    REQUESTS,
    RESULTS,
    RETRIES,
    WORKER,
    WORKERS,
    call,
    failed_call,
    good,
    request,
    result,
)
from tests.chaos.history import Fate, Fault, History, Progress, Stall


def _late_by_74_seconds(history: History) -> History:
    """Three hundred answers that were not published for 74 s, and all paid again after a kill."""
    names = [f"late-{number}" for number in range(300)]
    first = [call(f"{name} 1", name, 9.0, 11.0) for name in names]
    again = [
        replace(call(f"{name} 2", name, 90.0, 91.0), worker=OTHER, content=f"content of {name} 1")
        for name in names
    ]
    outputs = [
        result(name, 100 + at, 92.0, f"{name} 2", origin=20 + at) for at, name in enumerate(names)
    ]
    history = both(
        more(inputs=[request(name, 20 + at, 7.0) for at, name in enumerate(names)]),
        more(calls=[*first, *again]),
        written(*(replace(each, content=f"content of {each.request_id} 1") for each in outputs)),
    )(history)
    end = Progress(WORKERS, (REQUESTS, 0), 320, 93.0)
    places = {record.place: Fate.PLAIN for record in history.inputs}
    sent = list(good().sent) + [
        replace(good().sent[0], request_id=r.request_id, body=r.body, place=r.place)
        for r in history.inputs
        if r.request_id.startswith("late-")
    ]
    return replace(
        history,
        progress=(*history.progress, end),
        fates={**history.fates, **places},
        sent=tuple(sent),
    )


HOP = (RETRIES, 0, 0)
PLAIN, LETTER = (RESULTS, 0, 0), (LETTERS, 0, 0)
RESULT = result("plain", 50, 12.0, "c0", origin=0)
SECOND_HOP = next(r for r in good().written if r.place == HOP)
STEPS = good().progress[:-1]
MUTATIONS: dict[str, Mutation] = {
    # C1, C2, C3
    "C1: asked in three ways": more(
        calls=[replace(call("c20", "repaired", 20, 21), body="yet another")]
    ),
    "C2: no fault": but(faults=()),
    "C2: a harmless fault": faulty(worker=""),
    "C2: another worker's fault": faulty(worker=OTHER),
    "C2: the same name, another process": faulty(worker="worker-1.101"),
    "C2: a later fault": faulty(at=95.0, until=95.0),
    "C2: a fault long after it was visible": faulty(at=13.0, until=13.0),
    "C2: answered twice": more(calls=[call("c20", "plain", 20, 21)]),
    "C2: answered twice under another label": more(
        calls=[replace(call("c20", "plain", 20, 21), attempt="2.1")]
    ),
    "C2: cancelled and made again": more(
        calls=[
            replace(failed_call("c20", "waited", 11.2, 11.9, 0), is_cut=True, worker=OTHER),
        ]
    ),
    "C2: twice by one fault": more(
        calls=[replace(call("c20", "killed", 91.0, 91.5), worker=OTHER)]
    ),
    "C2: a failed round after a whole answer": more(
        calls=[failed_call("c20", "plain", 12.0, 12.5, 529), call("c21", "plain", 13.0, 14.0)]
    ),
    "C3: 300 answers of 74 s ago": _late_by_74_seconds,
    # L
    "L1: lagging": committed(*STEPS[:-1]),
    "L1: the relay lags": lambda h: replace(h, progress=h.progress[:-1]),
    "L2: never ended": fated((RESULTS, 0, 97), Fate.OPEN),
    "L2: hidden for too long": but(stalls=(Stall((RESULTS, 0), 86.0, 104.0),)),
    "L2: hidden for too long after the fault": but(stalls=(Stall((RESULTS, 0), 80.0, 103.0),)),
    "L3: slow": but(seen={"killed": 96.0}),
    "L4: nobody's": but(unowned=((WORKERS, (REQUESTS, 0)),)),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_promise_is_found(name: str) -> None:
    """Each mutation of a good history is reported under the rule that it breaks."""
    verdict = check(MUTATIONS[name](good()))

    assert {name.partition(":")[0]} <= {found.partition(":")[0] for found in verdict.violations}


PARDONED: dict[str, Mutation] = {
    "a call repeated by who was away and has not heard": both(
        called("c10", worker=OTHER),
        more(
            calls=[call("c20", "maybe", 17.5, 18.5)],
            faults=[Fault("pause", 8.0, 15.0, WORKER, aftermath=5.0)],
        ),
    ),
    "a call that who was away makes of what rests by now": both(
        called("c3", started=81.0),
        more(faults=[Fault("pause", 20.0, 30.0, WORKER, 10.0)]),
        more(calls=[replace(failed_call("c20", "hopped", 31.0, 32.0, 529), worker=WORKER)]),
    ),
    "a call that failed, and was made again after a crash": more(
        calls=[replace(failed_call("c20", "hopped", 80.2, 80.6, 529), worker=OTHER)]
    ),
    "a call that its worker gave up by itself": lambda h: replace(
        more(calls=[replace(failed_call("c20", "waited", 2.0, 8.0, 0), is_cut=True)])(h),
        bounds=replace(h.bounds, call_timeout=6.0),
    ),
    "a wait that ends with its process": called("c7", started=13.0, worker=OTHER),
    "the first round again, after the second failed": lambda h: replace(
        h,
        calls=(
            *h.calls,
            replace(failed_call("c20", "repaired", 15.2, 15.3, 529), body="repaired, again"),
            call("c21", "repaired", 15.31, 15.4),
        ),
    ),
    "both rounds again, after a kill in the second": both(
        called("c4", body="killed, again"),
        called("c5", body="killed, again"),
        more(
            calls=[
                replace(call("c20", "killed", 78.0, 79.0), needs_another=True),
                replace(call("c21", "killed", 88.0, 89.5), worker=OTHER, needs_another=True),
            ]
        ),
    ),
    "one answer older than a commit interval": called(
        "c4", is_cut=False, is_answered=True, ended=81.0, status=200, content="content of c5"
    ),
    "answers that another round was to follow": lambda h: replace(
        _late_by_74_seconds(h),
        calls=tuple(replace(c, needs_another=True) for c in _late_by_74_seconds(h).calls),
    ),
    "answers that a broker's absence kept from their commit": lambda h: replace(
        _late_by_74_seconds(h),
        faults=(Fault("broker", 10.0, 80.0, hinders=10.0), h.faults[0]),
    ),
    "two rests for waits that count nothing": both(
        output(HOP, code="rate_limited", attempt=0),
        given(8, attempt=0),
        written(
            replace(
                SECOND_HOP,
                place=(RETRIES, 0, 1),
                at=74.0,
                not_before=79.0,
                attempt=0,
                code="rate_limited",
            ),
            result("hopped", 5, 182.0, "c3", origin=2),
            without=((RESULTS, 0, 5),),
        ),
        more(
            inputs=[
                replace(
                    good().inputs[8], place=(REQUESTS, 0, 10), at=79.5, attempt=0, not_before=79.0
                )
            ],
            progress=[
                Progress(WORKERS, (REQUESTS, 0), 11, 183.0),
                Progress(RELAYS, (RETRIES, 0), 2, 80.0),
            ],
        ),
        fated((REQUESTS, 0, 10), Fate.PLAIN),
    ),
    "an end that a fault hid, and its transaction's timeout": but(
        stalls=(Stall((RESULTS, 0), 70.0, 101.0),)
    ),
    "a send that was never acknowledged and is not there": lambda h: h,
    "a header that only we read": given(0, headers={**CALLERS, "x-replay-id": b"x"}),
}


@pytest.mark.parametrize("name", PARDONED)
def test_what_breaks_no_promise_is_pardoned(name: str) -> None:
    """What faults and the design allow is no violation."""
    assert () == check(PARDONED[name](good())).violations
