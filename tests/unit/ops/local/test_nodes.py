"""What a broker of the launcher is told."""

from pathlib import Path

from services.ops.local.nodes import Node, replication_properties


def test_one_broker_keeps_everything_once() -> None:
    """A single broker cannot wait for a second one."""
    assert {"1"} == set(replication_properties(1).values())


def test_three_brokers_survive_the_loss_of_one() -> None:
    """Three copies, two of which must be there."""
    properties = replication_properties(3)
    assert "3" == properties["transaction.state.log.replication.factor"]
    assert "2" == properties["min.insync.replicas"]
    assert "2" == properties["transaction.state.log.min.isr"]


def test_clients_may_be_sent_through_a_proxy_and_brokers_never_are() -> None:
    """Only the advertised address of the CLIENT listener changes."""
    nodes = [Node(n, 100 * n, 100 * n + 1, 100 * n + 2, ("127.0.0.1", 9)) for n in (1, 2, 3)]
    properties = nodes[0].properties(nodes, Path("/data"))
    assert "CLIENT://127.0.0.1:9,INTERNAL://127.0.0.1:101" == properties["advertised.listeners"]
    assert properties["listeners"].startswith("CLIENT://127.0.0.1:100,")
    assert (
        "1@127.0.0.1:102,2@127.0.0.1:202,3@127.0.0.1:302"
        == (properties["controller.quorum.voters"])
    )
