"""What the throttle refuses to be told."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from services.worker.throttle.settings import ThrottleSettings


def test_a_lease_that_a_late_record_would_end_is_refused() -> None:
    """The message names the setting, its value and a value that works."""
    with pytest.raises(ValidationError, match=r"lease 2 s .*exchange_interval 1 s.*LEASE to 3s"):
        ThrottleSettings(exchange_interval=timedelta(seconds=1))
    ThrottleSettings(exchange_interval=timedelta(seconds=1), lease=timedelta(seconds=3))


def test_a_topic_is_not_flooded() -> None:
    """Without an interval a replica would do nothing but post."""
    with pytest.raises(ValidationError, match="exchange_interval"):
        ThrottleSettings(exchange_interval=timedelta(0))
