"""The throttle keeps its bars in the short benchmark: virtual time, so the figures are exact."""

import pytest

from tests.benchmarks.throttle.scenario import Rule, Scenario, measure
from tests.benchmarks.throttle.suite import SHORT


@pytest.mark.parametrize("scenario", SHORT, ids=lambda scenario: scenario.name)
def test_the_allowance_is_used_and_not_exceeded(scenario: Scenario) -> None:
    """98 % of the binding limit used, at most 0.1 % of the calls refused, nothing exhausted."""
    result = measure(scenario, Rule.OURS)
    assert result.utilisation >= 0.98
    assert result.share_429 <= 0.001
    assert 0 == result.exhausted
