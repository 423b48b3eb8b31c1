"""Prompt caching in a clock that the test turns."""

from typing import Any

from services.simulator.prompt_cache import Caching, PromptCache

LONG = "word " * 400


class World:
    """A cache and its clock."""

    def __init__(self, min_tokens: int = 512) -> None:
        self.now = 0.0
        self.cache = PromptCache(min_tokens, 300, 3_600, lambda: self.now)

    def call(self, body: dict[str, Any], workspace: str = "w", begins_in: float = 0.0) -> Caching:
        """Look a request up and store what it writes."""
        caching = self.cache.look_up(body, workspace)
        self.cache.store(caching, begins_in)
        return caching


def request(text: str, system: str = LONG, ttl: str = "5m") -> dict[str, Any]:
    """Return a request with a mark after the system prompt."""
    mark = {"type": "ephemeral", "ttl": ttl}
    return {
        "model": "m",
        "system": [{"type": "text", "text": system, "cache_control": mark}],
        "messages": [{"role": "user", "content": text}],
    }


def test_written_then_read() -> None:
    """The first call writes the prefix, the next reads it, whatever follows the mark."""
    world = World()
    first, second = world.call(request("one")), world.call(request("two"))
    assert (0, True) == (first.read, first.written_5m > 512)
    assert (first.written_5m, 0) == (second.read, second.written)


def test_readable_when_the_answer_begins() -> None:
    """Calls at the same time all write: an entry is readable once its answer has begun."""
    world = World()
    world.call(request("one"), begins_in=0.5)
    assert 0 == world.call(request("two"), begins_in=0.5).read
    world.now = 0.5
    assert world.call(request("three")).read > 0


def test_lifetime_is_refreshed() -> None:
    """Each read prolongs an entry; unread it dies."""
    world = World()
    world.call(request("one"))
    for _ in range(3):
        world.now += 290
        assert world.call(request("again")).read > 0
    world.now += 301
    assert 0 == world.call(request("late")).read


def test_hour() -> None:
    """Entries of an hour are counted apart and live longer."""
    world = World()
    assert world.call(request("one", ttl="1h")).written_1h > 0
    world.now += 3_000
    assert world.call(request("two", ttl="1h")).read > 0


def test_too_short() -> None:
    """Below the minimum nothing is cached and nobody complains."""
    world = World()
    assert Caching() == world.call(request("one", system="short"))


def test_workspaces_and_models_are_apart() -> None:
    """Caches belong to a workspace and a model."""
    world = World()
    world.call(request("one"))
    assert 0 == world.call(request("two"), workspace="other").read
    assert 0 == world.call({**request("two"), "model": "n"}).read


def test_growing_conversation() -> None:
    """A mark on the last block reads what the last turn wrote and writes the rest."""
    world = World()

    def turn(*texts: str) -> dict[str, Any]:
        blocks: list[dict[str, Any]] = [{"type": "text", "text": text} for text in texts]
        blocks[-1]["cache_control"] = {"type": "ephemeral"}
        return {"model": "m", "messages": [{"role": "user", "content": blocks}]}

    first = world.call(turn(LONG))
    second = world.call(turn(LONG, "next " * 50))
    assert first.written == second.read
    assert second.written > 0


def test_automatic_mark() -> None:
    """A mark on the whole request stands after its last block, so unique prompts never read."""
    world = World()
    body: dict[str, Any] = {
        "model": "m",
        "cache_control": {"type": "ephemeral"},
        "system": LONG,
    }
    for number in range(2):
        message = {"role": "user", "content": f"unique {number}"}
        caching = world.call({**body, "messages": [message]})
        assert (0, True) == (caching.read, caching.written > 0)
