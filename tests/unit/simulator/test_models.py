"""What the simulator says about models, held against the SDK's types."""

from typing import get_args

from anthropic.types import Model, ModelInfo

from services.simulator.endpoints.models import described
from services.simulator.models import Catalogue


def test_sdk_reads_every_model() -> None:
    """Each entry is a `ModelInfo` without a field unknown to the SDK."""
    for facts in Catalogue().all:
        info = ModelInfo.model_validate(described(facts))
        assert facts.id == info.id
        assert not info.model_extra
        assert info.capabilities is not None
        assert not info.capabilities.model_extra


def test_defaults_of_the_tiers() -> None:
    """The three tiers' models are known, active and on their lines."""
    catalogue = Catalogue()
    for line in ("haiku", "sonnet", "opus"):
        facts = catalogue.serving(f"claude-{line}-5-5")
        assert facts is not None
        assert (line, "active") == (facts.line, facts.lifecycle)


def test_sdk_ids() -> None:
    """Every id of the SDK but the ones for verified organisations and the first of their line."""
    named = set(get_args(get_args(Model)[0]))
    known = {name for facts in Catalogue().all for name in (facts.id, *facts.aliases)}
    missing = {name for name in named - known if "mythos" not in name}
    assert {"claude-fable-5"} >= missing


def test_groups() -> None:
    """Opus 4.5 to 4.8 share a group; the newest models each have their own."""
    groups = Catalogue().groups()
    assert ["claude-haiku-5-5"] == [facts.id for facts in groups["claude-haiku-5-5"]]
    assert 4 == len(groups["claude-opus-4"])


def test_retired() -> None:
    """Retired models answer only where recordings are replayed."""
    assert Catalogue().serving("claude-3-opus-20240229") is None
    assert Catalogue(retired=True).serving("claude-3-opus-latest") is not None
