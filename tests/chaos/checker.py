"""Judges a run: a pure function from a history to its violations.

The rules are those of the facts page: S is what subscribers see, C what is paid, L that the system
heals. Each file of `rules/` holds some; `test_checker.py` breaks good histories in every way that a
rule names and expects each to be found.
"""

from dataclasses import dataclass, field

from tests.chaos.history import History
from tests.chaos.recovery import heals_in_time
from tests.chaos.rules import outcomes, paths, progress, repeats, replays


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker found."""

    requests: int
    lost: int
    duplicates: int
    repeated_calls: int
    repeats_unexplained: int
    early: int
    violations: tuple[str, ...] = field(default=())

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations


def check(history: History) -> Verdict:
    """Judge a history by every rule; violations name the rule and the record."""
    lost, duplicates = outcomes.count(history)
    charges = repeats.charged(history)
    early = list(paths.never_early(history))
    violations = [
        *outcomes.exactly_one(history),
        *outcomes.no_phantom(history),
        *early,
        *progress.never_regresses(history),
        *paths.nothing_skipped(history),
        *paths.one_path(history),
        *outcomes.aborted_stay_hidden(history),
        *outcomes.whole(history),
        *replays.as_planned(history),
        *repeats.all_explained(charges, history),
        *repeats.published_in_time(charges, history),
        *progress.all_is_committed(history),
        *progress.ends_are_visible(history),
        *heals_in_time(history),
        *progress.all_is_owned(history),
    ]
    return Verdict(
        requests=len(outcomes.wanted(history)),
        lost=lost,
        duplicates=duplicates,
        repeated_calls=len(charges.repeats),
        repeats_unexplained=len(charges.unexplained),
        early=len(early),
        violations=tuple(violations),
    )
