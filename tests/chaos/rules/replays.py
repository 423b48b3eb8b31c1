"""S9: a replay sends what was selected, each once, and nothing else."""

from collections import Counter
from collections.abc import Iterator

from tests.chaos.history import History, Identity, Input, Written


def as_planned(history: History) -> Iterator[str]:
    """Compare what each plan meant with what was sent in its name and with its audit."""
    letters = {r.place: r for r in history.written if r.kind == "dead_letter"}
    for plan in history.plans:
        selected = (letters[place] for place in plan.selected if place in letters)
        meant = {_again(letter): letter for letter in selected}
        sent = [r for r in history.inputs if r.replay == plan.plan_id and r.origin is None]
        for identity, number in Counter(record.identity for record in sent).items():
            if number > 1:
                yield f"S9: {plan.plan_id} sent {identity} {number} times"
        for record in sent:
            yield from _is_meant(record, meant)
        missing = meant.keys() - {record.identity for record in sent}
        if missing and plan.is_finished:
            yield f"S9: {plan.plan_id} did not send {sorted(missing)[:3]}"
        if Counter(plan.audited) != Counter(record.identity for record in sent):
            yield f"S9: the audit of {plan.plan_id} is not what was sent"


def _is_meant(record: Input, meant: dict[Identity, Written]) -> Iterator[str]:
    letter = meant.get(record.identity)
    if letter is None:
        yield f"S9: {record.replay} sent {record.identity}, which was not selected"
    elif letter.body != record.body:
        yield f"S9: {record.replay} sent other bytes of {record.identity}"


def _again(letter: Written) -> Identity:
    return letter.request_id, letter.generation + 1
