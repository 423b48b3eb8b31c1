"""The checker finds every kind of broken promise: a good history is mutated, each is caught."""

from dataclasses import replace

import pytest

from tests.chaos.breaking import (
    Mutation,
    both,
    but,
    called,
    committed,
    fated,
    given,
    more,
    output,
    planned,
    written,
)
from tests.chaos.checker import check
from tests.chaos.good import (
    LETTERS,
    RELAYS,
    REQUESTS,
    RESULTS,
    RETRIES,
    failure,
    good,
    letter,
    request,
    result,
    step,
)
from tests.chaos.history import Fate, Progress
from tests.chaos.rules.outcomes import REQUIRED_OF_DEAD_LETTERS

HOP = (RETRIES, 0, 0)
PLAIN, LETTER = (RESULTS, 0, 0), (LETTERS, 0, 0)
RESULT = result("plain", 50, 12.0, "c0", origin=0)
SECOND_HOP = next(r for r in good().written if r.place == HOP)
STEPS = good().progress[:-1]
MUTATIONS: dict[str, Mutation] = {
    # S1
    "S1: lost": written(without=(PLAIN,)),
    "S1: duplicate": written(RESULT),
    "S1: acknowledged, and nowhere": lambda h: replace(
        written(without=(PLAIN,))(h), inputs=tuple(r for r in h.inputs if r.request_id != "plain")
    ),
    "S1: sent without acknowledgement, there, and without outcome": written(
        without=((RESULTS, 0, 4),)
    ),
    "S1: replayed and lost": written(without=((RESULTS, 0, 6),)),
    "S1: dead letter alone": written(without=((RESULTS, 0, 1),)),
    "S1: failed without dead letter": written(without=(LETTER,)),
    "S1: both a success and a failure": written(
        failure("plain", 50, 12.0, "c0", origin=0), letter("plain", 50, 12.0, origin=0)
    ),
    # S2
    "S2: nobody's outcome": written(result("ghost", 50, 12.0, "c0", origin=0)),
    "S2: nobody's hop": written(replace(SECOND_HOP, request_id="ghost", place=(RETRIES, 0, 7))),
    "S2: nobody's dead letter": written(letter("ghost", 50, 12.0, origin=1)),
    "S2: another's origin": output(PLAIN, origin=(REQUESTS, 0, 1)),
    "S2: no origin": output(PLAIN, origin=None),
    "S2: a call that was never made": lambda h: replace(h, calls=h.calls[1:]),
    "S2: calls swapped": both(
        output(PLAIN, api_request_id="c7", content="content of c7"),
        output((RESULTS, 0, 2), api_request_id="c0", content="content of c0"),
    ),
    "S2: answers swapped": both(
        output(PLAIN, content="content of c7"), output((RESULTS, 0, 2), content="content of c0")
    ),
    "S2: the call of another generation": called("c0", generation=1),
    "S2: the call failed": called("c0", is_answered=False, status=529),
    "S2: a failure names another's call": output((RESULTS, 0, 1), api_request_id="c0"),
    "S2: a record that nobody sent": more(inputs=[request("plain", 50, 12.0)]),
    "S2: not what upstream sent": given(0, body="another"),
    "S2: replayed without a plan": both(but(plans=()), given(9, replay="plan-2")),
    # S3
    "S3: called while it rests": called("c3", started=60.0, ended=61.0),
    "S3: called while it rests again, with the same count": both(
        written(replace(SECOND_HOP, place=(RETRIES, 0, 1), at=74.0, not_before=134.0)),
        more(inputs=[replace(good().inputs[8], place=(REQUESTS, 0, 10), at=134.5)]),
    ),
    "S3: called while it rests first": both(
        written(
            replace(
                SECOND_HOP, place=(RETRIES, 0, 1), at=74.0, not_before=76.0, code="rate_limited"
            )
        ),
        called("c3", started=60.0, ended=61.0),
    ),
    "S3: put back early": given(8, at=70.0),
    "S3: called before the wait was over": called("c7", started=13.0),
    # S4
    "S4: went back": committed(STEPS[0], STEPS[3], STEPS[1], STEPS[2], STEPS[4]),
    "S4: forgot": committed(*STEPS[:3], step(3, 85.5, {4, 9}), STEPS[4]),
    # S5
    "S5: skipped": written(without=(HOP, (RESULTS, 0, 5))),
    "S5: complete before its outcome": committed(step(2, 11.5), *STEPS[1:]),
    "S5: a bit set before its outcome": committed(STEPS[0], step(2, 13.5, {6}), *STEPS[1:]),
    "S5: complete before it came back": lambda h: replace(
        h, progress=(*h.progress[:-1], Progress(RELAYS, (RETRIES, 0), 1, 30.0))
    ),
    "S5: a record that came back was skipped": written(without=((RESULTS, 0, 5),)),
    # S6
    "S6: rested twice at once": written(replace(SECOND_HOP, place=(RETRIES, 0, 5))),
    "S6: came back twice": more(inputs=[replace(good().inputs[8], place=(REQUESTS, 0, 10))]),
    "S6: never came back": lambda h: replace(
        h, inputs=tuple(r for r in h.inputs if r.origin is None)
    ),
    "S6: came back as something else": given(8, body="another"),
    "S6: came back with another count": given(8, attempt=3),
    "S6: rested after its outcome": output(HOP, at=82.5),
    "S6: rested without an attempt": both(output(HOP, attempt=0), given(8, attempt=0)),
    "S6: forgot its attempts": output((RESULTS, 0, 5), attempt=0),
    # S7
    "S7: aborted and read": fated(PLAIN, Fate.ABORTED),
    "S7: put back by an aborted transaction": fated((REQUESTS, 0, 8), Fate.ABORTED),
    "S7: not of any transaction": fated(PLAIN, Fate.PLAIN),
    "S7: committed and hidden": fated((RESULTS, 0, 98), Fate.COMMITTED),
    # S8
    "S8: other bytes": output(LETTER, body="another"),
    "S8: a caller's header is lost": output(PLAIN, headers={}),
    "S8: a caller's header is changed": output(
        LETTER, headers={**letter("failed", 0, 0, origin=1).headers, "shop": b"basel"}
    ),
    "S8: another origin for other tools": output(
        LETTER,
        headers={**letter("failed", 0, 0, origin=1).headers, "kafka_dlt-original-offset": bytes(8)},
    ),
    "S8: an output that breaks its schema": output(
        PLAIN, event={**RESULT.event, "output": {"intention": "card_arrival"}}
    ),
    "S8: an event that breaks its contract": output(PLAIN, event={"output": {"intent": "x"}}),
    # S9
    "S9: not sent": lambda h: replace(h, inputs=h.inputs[:-1]),
    "S9: sent twice": more(inputs=[replace(good().inputs[9], place=(REQUESTS, 0, 10))]),
    "S9: not selected": planned(selected=frozenset()),
    "S9: other bytes": given(9, body="another"),
    "S9: another generation": given(9, generation=3),
    "S9: not in the audit": planned(audited=()),
    **{
        f"S8: a dead letter without {name}": output(
            LETTER,
            headers={
                key: value
                for key, value in letter("failed", 0, 0, origin=1).headers.items()
                if key != name
            },
        )
        for name in sorted(REQUIRED_OF_DEAD_LETTERS)
    },
}


def test_a_good_history_has_no_violation() -> None:
    """A run in which every promise was kept passes, and its repeated call is counted."""
    verdict = check(good())

    assert () == verdict.violations
    assert (8, 0, 0, 1, 0, 0) == (
        verdict.requests,
        verdict.lost,
        verdict.duplicates,
        verdict.repeated_calls,
        verdict.repeats_unexplained,
        verdict.early,
    )


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_promise_is_found(name: str) -> None:
    """Each mutation of a good history is reported under the rule that it breaks."""
    verdict = check(MUTATIONS[name](good()))

    assert {name.partition(":")[0]} <= {found.partition(":")[0] for found in verdict.violations}
