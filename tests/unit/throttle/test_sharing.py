"""The division of one allowance by a fold over the log."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.throttle.buckets import ZERO, Amounts
from services.worker.throttle.levels import EASED, NONE_READ, UNSET, Course
from services.worker.throttle.sharing import MOST_SAVED, REPAID, Division, max_min
from services.worker.throttle.standing import Standing

LIMITS = Amounts(6_000, 6_000, 6_000)  # 100 a second each


def _division(slow_start: float = 1.0, lease: float = 5.0) -> Division:
    return Division(LIMITS, None, safety=1.0, slow_start=slow_start, growth=1.1, lease=lease)


def _all(amount: float) -> Amounts:
    return Amounts(amount, amount, amount)


def _standing(wants: float, claim: float, used: float = 0.0) -> Standing:
    return Standing(wants=_all(wants), used=_all(used), claim=_all(claim))


@settings(deadline=None, max_examples=40)
@given(
    st.floats(0, 1_000),
    st.dictionaries(st.text(max_size=3), st.floats(0, 1_000), min_size=1, max_size=20),
)
def test_max_min_is_fair(budget: float, wants: dict[str, float]) -> None:
    """Nothing is lost; who gets less than it wants gets no less than anyone else."""
    shares = max_min(budget, wants)
    assert pytest.approx(budget, abs=1e-6) == sum(shares.values())
    most = max(shares.values())
    for name, share in shares.items():
        assert share >= wants[name] - 1e-6 or share >= most - 1e-6


def test_one_alone_gets_everything() -> None:
    """It need not know that it is alone."""
    division = _division()
    claim = division.target("a", _all(1.0))
    division.fold("a", _standing(1.0, claim.requests), 0.0)
    assert _all(100.0) == division.holds("a")


def test_more_takes_effect_only_after_the_others_let_go() -> None:
    """A newcomer's claim is worth what the others' claims leave."""
    division = _division()
    division.fold("a", _standing(500, 100), 0.0)
    division.fold("b", _standing(500, 50), 0.1)
    assert ZERO == division.holds("b")
    division.fold("a", _standing(500, 50), 1.0)
    assert _all(50.0) == division.holds("a")
    division.fold("b", _standing(500, 50), 1.1)
    assert _all(50.0) == division.holds("b")


def test_a_silent_replica_loses_its_part_after_its_lease() -> None:
    """Not before: it may still be using it."""
    division = _division(lease=5.0)
    division.fold("dead", _standing(500, 60), 0.0)
    division.fold("b", _standing(500, 100), 4.9)
    assert _all(40.0) == division.holds("b")
    division.fold("b", _standing(500, 100), 5.1)
    assert _all(100.0) == division.holds("b")


def test_one_that_leaves_gives_its_part_up_at_once() -> None:
    """No lease to wait for."""
    division = _division()
    division.fold("a", _standing(500, 60), 0.0)
    division.remove("a")
    division.fold("b", _standing(500, 100), 0.1)
    assert _all(100.0) == division.holds("b")


def test_a_lower_limit_counts_for_all_at_once() -> None:
    """Parts shrink together; nobody has to post first."""
    division = _division()
    division.fold("a", _standing(500, 50), 0.0)
    division.fold("b", _standing(500, 50), 0.1)
    division.fold("a", replace(_standing(500, 50), limits=LIMITS.times(0.5)), 0.2)
    assert pytest.approx(25.0) == division.holds("a").requests
    assert pytest.approx(25.0) == division.holds("b").requests


def test_the_newest_limit_counts_whoever_tells_it() -> None:
    """A record may carry an old observation."""
    division = _division()
    new = replace(_standing(1, 1), limits=LIMITS.times(0.5), limits_age=1.0)
    old = replace(_standing(1, 1), limits=LIMITS, limits_age=9.0)
    division.fold("a", new, 10.0)
    division.fold("b", old, 10.1)
    assert LIMITS.times(0.5) == division.limits


def test_a_fleet_starts_slowly_and_grows_with_its_use() -> None:
    """The bound rises while it is used, and sinks again when the fleet is idle."""
    division = _division(slow_start=0.2)
    assert pytest.approx(20.0) == division.budget.requests
    for second in range(1, 60):
        used = division.budget.requests
        division.fold("a", _standing(500, used, used), float(second))
    assert pytest.approx(100.0) == division.budget.requests
    for second in range(60, 200):
        division.fold("a", _standing(0, 100, 0.0), float(second))
    assert pytest.approx(20.0, rel=0.01) == division.budget.requests


def test_growth_that_was_too_sharp_steps_back_once() -> None:
    """Complaints of the same moment are one complaint."""
    division = _division(slow_start=0.2)
    for name in "ab":
        division.fold(name, replace(_standing(1, 1, 30), bound=0.9), 0.0)
    division.fold("a", replace(_standing(1, 1, 30), too_sharp=1), 0.1)
    division.fold("b", replace(_standing(1, 1, 30), too_sharp=1), 0.2)
    # 60 of 100 are used, and a tenth of that is given up.
    assert pytest.approx(0.54, rel=0.02) == division.bound


def test_what_is_left_unused_is_lent_out_while_others_are_short() -> None:
    """Together the parts may add up to a little more than the budget, for as long as it lasts."""
    division = _division()
    for second in range(100):
        waits = replace(_standing(500, 100), waits_for=0, total=_all(50.0 * second))
        division.fold("a", waits, float(second))
        division.fold("b", _standing(1, 1), second + 0.5)
    most = 100 * (1 + MOST_SAVED / REPAID)
    assert pytest.approx(most) == division.shared.requests


def _says(division: Division, standing: Standing) -> Standing:
    """Add what a replica tells of the state that all have in common."""
    return replace(
        standing,
        courses=division.courses,
        bound=division.bound,
        saved=division.saved,
        quiet=division.quiet,
    )


def test_a_newcomer_divides_as_the_others_do() -> None:
    """Did it not know what they lend out, it would find nothing left for it."""
    division, newcomer = _division(), _division(slow_start=0.2)
    for second in range(100):
        waits = replace(_standing(500, 200), waits_for=0, total=_all(50.0 * second))
        division.fold("a", _says(division, waits), float(second))
        division.fold("b", _says(division, _standing(1, 1)), second + 0.5)
    newcomer.fold("died long ago", _standing(1, 50), 40.0)
    for name, turn in (("a", 0.0), ("b", 0.5)):
        said = _says(division, waits if name == "a" else _standing(1, 1))
        said = replace(said, holds=division.holds(name))
        for each in (division, newcomer):
            each.fold(name, said, 100.0 + turn)
    assert division.shared.requests > 120
    for part, known in zip(newcomer.shared, division.shared, strict=True):
        assert pytest.approx(known, rel=0.05) == part
    assert newcomer.free.requests >= 0


def test_a_newcomer_lends_nothing_while_the_others_lend_nothing() -> None:
    """It did not see the refusal."""
    division, newcomer = _division(), _division()
    waits = replace(_standing(500, 100), waits_for=0)
    for second in range(20):
        division.fold("a", _says(division, waits), float(second))
    refused = replace(waits, refused=1)
    division.fold("a", refused, 20.0)
    for second in range(21, 30):
        said = replace(refused, total=_all(10.0 * second))
        newcomer.fold("a", _says(division, said), float(second))
        division.fold("a", _says(division, said), float(second))
    assert division.quiet > 0
    assert newcomer.shared.requests <= 100
    assert pytest.approx(division.quiet, abs=1.0) == newcomer.quiet


def test_nothing_is_lent_out_after_a_replica_was_cut_off() -> None:
    """It may go on within its safe share, which nobody sees; later what is unused is lent again."""
    division = _division()
    for second in range(40):
        waits = replace(_standing(500, 100), waits_for=0, total=_all(50.0 * second))
        division.fold("a", waits, float(second))
        if second < 20:
            division.fold("b", _standing(1, 1), second + 0.5)
        if second == 20:
            assert division.shared.requests > 100
        if second == 27:
            assert pytest.approx(100) == division.shared.requests
    assert division.shared.requests > 100


def test_what_is_used_in_full_is_not_lent_out_again() -> None:
    """Who waits for more than there is gives nobody reason to use more."""
    division = _division()
    for second in range(100):
        waits = replace(_standing(500, 100), waits_for=0, total=_all(100.0 * second))
        division.fold("a", waits, float(second))
    assert pytest.approx(100) == division.shared.requests


def test_nothing_is_lent_out_where_nobody_waits() -> None:
    """An idle fleet saves nothing up."""
    division = _division()
    for second in range(100):
        division.fold("a", _standing(50, 100), float(second))
    assert pytest.approx(100) == division.shared.requests


def test_a_lost_record_changes_nothing_in_what_is_left_unused() -> None:
    """The use is told in all, so that the next record makes up for the lost one."""
    every, some = _division(), _division()
    for second in range(100):
        said = replace(_standing(500, 100), waits_for=0, total=_all(95.0 * second))
        every.fold("a", said, float(second))
        if second % 3 != 1 or second > 97:
            some.fold("a", said, float(second))
    assert pytest.approx(every.shared.requests) == some.shared.requests
    assert every.shared.requests > 100


def test_a_limit_that_is_used_by_less_than_most_of_it_is_slack() -> None:
    """The one that binds is not."""
    division = _division()
    division.fold("a", replace(_standing(500, 100), used=Amounts(99, 60, 85)), 0.0)
    assert (False, True, False) == division.slack


def test_levels_are_controlled_once_for_all_replicas() -> None:
    """Every reader of the log comes to the same factor."""
    first, second = _division(), _division()
    low = NONE_READ.plus(1.0).plus(60.0).plus(2.0)
    for at in range(50):
        standing = replace(_standing(500, 50, 50), readings=(low, NONE_READ, NONE_READ))
        for division in (first, second):
            division.fold("ab"[at % 2], standing, at * 0.6)
    assert first.factor == second.factor
    assert 0.3 <= first.factor.requests < 0.99
    assert 1.0 == first.factor.input_tokens


def test_a_newcomer_learns_what_the_compacted_log_no_longer_shows() -> None:
    """Parts, slow start and where the levels stand are on every record."""
    newcomer = _division(slow_start=0.2)
    courses = (Course(0.8, -0.2, 30.0, (2.0, 9.0)), UNSET, UNSET)
    said = Standing(
        wants=_all(500), used=_all(80), claim=_all(90), holds=_all(70), bound=1.0, courses=courses
    )
    newcomer.fold("a", said, 0.0)
    assert 1.0 == newcomer.bound
    assert Amounts(0.8, 1.0, 1.0) == newcomer.factor
    assert courses == newcomer.courses
    assert pytest.approx(80.0) == newcomer.holds("a").requests


moves = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.floats(0, 500),
        st.floats(0, 2),
        st.booleans(),
    ),
    max_size=80,
)


@settings(deadline=None, max_examples=40)
@given(moves)
def test_parts_never_add_up_to_more_than_is_shared(
    moves: list[tuple[str, float, float, bool]],
) -> None:
    """Whoever comes, claims, leaves or falls silent, in any order."""
    division, now = _division(), 0.0
    for name, wants, gap, leaves in moves:
        now += gap
        if leaves:
            division.remove(name)
        else:
            claim = division.target(name, _all(wants))
            division.fold(name, Standing(wants=_all(wants), used=ZERO, claim=claim), now)
        held = sum(division.holds(member).requests for member in division.members)
        assert held <= division.shared.requests + 1e-6
        most = 1 + MOST_SAVED / REPAID
        assert division.shared.requests <= most * division.budget.requests + 1e-6


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(1, 500), min_size=2, max_size=8))
def test_rounds_come_to_the_fair_division(wants: list[float]) -> None:
    """After a few rounds everyone holds its max-min fair part."""
    division = _division()
    named = {f"r{number}": want for number, want in enumerate(wants)}
    for turn in range(6):
        for place, (name, want) in enumerate(named.items()):
            claim = division.target(name, _all(want))
            standing = Standing(wants=_all(want), used=ZERO, claim=claim)
            division.fold(name, standing, turn + place / 10)
    for name, share in max_min(100.0, named).items():
        assert pytest.approx(share, rel=1e-6) == division.holds(name).requests


@pytest.mark.parametrize(
    ("is_cut_off", "lowest", "rises_after"),
    [(False, 59.3, 60), (True, 59.3, 10), (False, 60.0, 60 / (1 + EASED))],
)
def test_a_refusal_is_remembered_unless_there_are_no_others(
    *, is_cut_off: bool, lowest: float, rises_after: float
) -> None:
    """Others who use the key come again; who is cut off is known, and at the top is nobody."""
    division = _division()
    calm = replace(_standing(100, 100, 90), waits_for=0)
    if is_cut_off:
        division.fold("cut off", calm, 0.0)
    for second in range(20):
        division.fold("stays", calm, float(second))
    refused = replace(calm, refused=1)
    division.fold("stays", refused, 20.0)
    low = division.factor.requests
    assert low < 1.0
    high = NONE_READ.plus(60.0).plus(lowest)
    rose = 0
    while division.factor.requests <= low and rose < 100:
        division.fold("stays", replace(refused, readings=(high, high, high)), 21.0 + rose)
        rose += 1
    assert rises_after == pytest.approx(rose, abs=2)


def test_a_ceiling_is_not_passed_to_make_up_for_what_was_not_used() -> None:
    """Under one of our own the API's bucket is full all the time, and that says nothing."""
    free, capped = (
        Division(LIMITS, ceiling, safety=1.0, slow_start=1.0, growth=1.1, lease=5.0)
        for ceiling in (None, LIMITS.times(0.5))
    )
    full = NONE_READ.plus(60.0)
    for second in range(30):
        said = replace(_standing(500, 50, 50), readings=(full, full, full))
        for division in (free, capped):
            division.fold("a", said, float(second))
    assert free.factor.output_tokens > 1.0
    assert free.is_output_full
    assert capped.budget == LIMITS.times(0.5 / 60.0)
    assert not capped.is_output_full


def test_a_full_bucket_means_nothing_during_the_slow_start() -> None:
    """It is full by intention."""
    division = _division(slow_start=0.2)
    full = NONE_READ.plus(60.0)
    division.fold("a", replace(_standing(500, 5), readings=(full, full, full)), 0.0)
    assert not division.is_output_full
