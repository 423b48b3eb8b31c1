"""How a good history is broken: each function returns a mutation of one part of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.chaos.good import REQUESTS
from tests.chaos.history import Fate, History, Place, Progress, Written

Mutation = Callable[[History], History]


def written(*records: Written, without: tuple[Place, ...] = ()) -> Mutation:
    """Take outputs away and add others."""

    def mutate(history: History) -> History:
        kept = [record for record in history.written if record.place not in without]
        new = {record.place: Fate.COMMITTED for record in records}
        gone = dict.fromkeys(without)
        fates = {place: fate for place, fate in history.fates.items() if place not in gone}
        return replace(history, written=(*kept, *records), fates={**fates, **new})

    return mutate


def output(place: Place, **changes: Any) -> Mutation:
    """Change one output."""
    return lambda history: replace(
        history,
        written=tuple(replace(r, **changes) if r.place == place else r for r in history.written),
    )


def given(offset: int, **changes: Any) -> Mutation:
    """Change one request record."""
    return lambda history: replace(
        history,
        inputs=tuple(
            replace(r, **changes) if r.place == (REQUESTS, 0, offset) else r for r in history.inputs
        ),
    )


def called(name: str, **changes: Any) -> Mutation:
    """Change one call."""
    return lambda history: replace(
        history,
        calls=tuple(
            replace(c, **changes) if c.api_request_id == name else c for c in history.calls
        ),
    )


def more(**additions: Any) -> Mutation:
    """Add to parts of the history."""

    def mutate(history: History) -> History:
        parts: dict[str, Any] = {
            name: (*getattr(history, name), *added) for name, added in additions.items()
        }
        return replace(history, **parts)

    return mutate


def but(**changes: Any) -> Mutation:
    """Replace parts of the history."""
    return lambda history: replace(history, **changes)


def both(*mutations: Mutation) -> Mutation:
    """Mutate in turn."""

    def mutate(history: History) -> History:
        for each in mutations:
            history = each(history)
        return history

    return mutate


def faulty(**changes: Any) -> Mutation:
    """Change the one fault."""
    return lambda history: replace(history, faults=(replace(history.faults[0], **changes),))


def planned(**changes: Any) -> Mutation:
    """Change the one plan."""
    return lambda history: replace(history, plans=(replace(history.plans[0], **changes),))


def committed(*steps: Progress) -> Mutation:
    """Replace the workers' commits."""
    return lambda history: replace(history, progress=(*steps, history.progress[-1]))


def fated(place: Place, fate: Fate) -> Mutation:
    """Change what the log says of a record."""
    return lambda history: replace(history, fates={**history.fates, place: fate})
