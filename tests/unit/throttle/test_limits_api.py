"""Reading the Rate Limits API."""

from services.worker.throttle.buckets import Amounts
from services.worker.throttle.limits_api import GroupLimit, parse

ENTRY = {
    "type": "rate_limit",
    "id": "rl_1",
    "group": {"type": "model_group", "id": "claude-sonnet-4", "display_name": "Sonnet 4.x"},
    "models": ["claude-sonnet-4-5", "claude-sonnet-4-6"],
    "limits": [
        {"type": "requests_per_minute", "value": 1_000},
        {"type": "input_tokens_per_minute_cache_aware", "value": 2_000_000},
        {"type": "output_tokens_per_minute", "value": 400_000},
        {"type": "tokens_per_day", "value": 7},
    ],
}


def test_a_model_group_names_its_models_and_limits() -> None:
    """Kinds that we do not know are skipped."""
    batch = {**ENTRY, "group": {"type": "batch", "id": "batch"}}
    expected = GroupLimit(
        "claude-sonnet-4",
        ("claude-sonnet-4-5", "claude-sonnet-4-6"),
        Amounts(1_000, 2_000_000, 400_000),
    )
    assert [expected] == parse([ENTRY, batch, {"type": "new"}])


def test_a_limit_that_counts_cache_reads_serves_where_there_is_no_other() -> None:
    """Older groups and workspaces have `input_tokens_per_minute`."""
    limits = [
        {"type": "requests_per_minute", "value": 50},
        {"type": "input_tokens_per_minute", "value": 30_000},
        {"type": "output_tokens_per_minute", "value": 8_000},
    ]
    [group] = parse([{**ENTRY, "limits": limits}])
    assert Amounts(50, 30_000, 8_000) == group.limits


def test_a_group_without_all_three_still_maps_its_models() -> None:
    """The headers will tell the limits."""
    [group] = parse([{**ENTRY, "limits": [], "models": None}])
    assert GroupLimit("claude-sonnet-4", (), None) == group
