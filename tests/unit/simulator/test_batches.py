"""What a batch shows at each age."""

from typing import Any

from services.simulator.batches import Batch, Batches

REQUESTS = [{"custom_id": f"r{number}", "params": {}} for number in range(20)]


def succeeded(_params: dict[str, Any]) -> dict[str, Any]:
    """Answer every request."""
    return {"type": "succeeded"}


class World:
    """Batches and their clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.batches = Batches(lambda: self.now, duration_s=10)

    def shown(self, batch: Batch, expired: float = 0.0) -> dict[str, Any]:
        """Return what the API shows."""
        return batch.described(self.now, succeeded, expired, "http://sim")


def test_counts_move_at_the_end() -> None:
    """Until the end everything is processing."""
    world = World()
    batch = world.batches.create("w", REQUESTS)
    world.now += 9
    shown = world.shown(batch)
    assert ("in_progress", 20, None) == (
        shown["processing_status"],
        shown["request_counts"]["processing"],
        shown["results_url"],
    )
    world.now += 1
    shown = world.shown(batch)
    assert ("ended", 0, 20) == (
        shown["processing_status"],
        shown["request_counts"]["processing"],
        shown["request_counts"]["succeeded"],
    )


def test_results_come_in_another_order() -> None:
    """Results are shuffled, and the same when read again."""
    world = World()
    batch = world.batches.create("w", REQUESTS)
    world.now += 10
    first = batch.finish(succeeded, 0)
    names = [line["custom_id"] for line in first]
    assert {request["custom_id"] for request in REQUESTS} == set(names)
    assert names != [request["custom_id"] for request in REQUESTS]
    assert first is batch.finish(succeeded, 0)


def test_cancelled() -> None:
    """A cancelled batch is canceling, then ended with what was done by then."""
    world = World()
    batch = world.batches.create("w", REQUESTS)
    world.now += 5
    batch.cancelled = world.now
    assert "canceling" == world.shown(batch)["processing_status"]
    world.now += 1
    counts = world.shown(batch)["request_counts"]
    assert 20 == counts["succeeded"] + counts["canceled"]
    assert 0 < counts["canceled"] < 20


def test_expired() -> None:
    """A share of the requests may expire."""
    world = World()
    batch = world.batches.create("w", REQUESTS)
    world.now += 10
    assert 20 == world.shown(batch, expired=1.0)["request_counts"]["expired"]


def test_workspaces_are_apart() -> None:
    """A batch is seen by its workspace only, newest first."""
    world = World()
    first, second = (world.batches.create("w", REQUESTS) for _ in range(2))
    assert [second, first] == world.batches.newest("w")
    assert world.batches.find(first.id, "other") is None
    world.batches.delete(first)
    assert [second] == world.batches.newest("w")
