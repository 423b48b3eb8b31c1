"""What the rooms of a stack are told."""

from pathlib import Path

from services.ops.local.run import Run
from services.ops.local.stack import Stack, StackPlan


def _environment(plan: StackPlan) -> dict[str, str]:
    return Stack(plan, Run(Path("unused"))).environment


def test_a_live_stack_calls_the_real_api_with_the_given_key() -> None:
    """Whatever a .env beside the checkout says about the simulator."""
    said = _environment(StackPlan(live_key="sk-ant-x", bootstrap_servers="k:1"))
    assert "https://api.anthropic.com" == said["CLAUDE__BASE_URL"]
    assert "sk-ant-x" == said["SECRETS__API_KEY"]
    assert "k:1" == said["KAFKA__BOOTSTRAP_SERVERS"]


def test_a_live_key_is_not_shown() -> None:
    """A plan may be printed; its key may not."""
    assert "sk-ant-x" not in repr(StackPlan(live_key="sk-ant-x"))


def test_rooms_can_be_sent_through_a_proxy() -> None:
    """Their Kafka is the proxy's address, while the stack itself uses the broker's."""
    plan = StackPlan(live_key="k", bootstrap_servers="k:1", bootstrap_for_rooms="p:2")
    assert "p:2" == _environment(plan)["KAFKA__BOOTSTRAP_SERVERS"]


def test_on_a_shared_cluster_topics_and_groups_are_the_stacks_own() -> None:
    """Two members of one group that want different topics would rebalance without end."""
    said = _environment(StackPlan(live_key="k", bootstrap_servers="k:1", topic_prefix="demo-1."))
    assert "demo-1." == said["KAFKA__TOPIC_PREFIX"]
    assert "demo-1.sluice-worker" == said["ENGINE__GROUP_ID"]
    assert "demo-1.sluice-relay" == said["RELAY__GROUP_ID"]
