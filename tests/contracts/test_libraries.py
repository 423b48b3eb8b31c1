"""The private names of aiokafka and FastStream that `services/runtime` relies on.

When one of these fails after an upgrade, read what changed there before mending the test: each is
part of the argument in `docs/engine.md`.
"""

import inspect
import threading
from importlib.metadata import version
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import CoordinatorGroupRebalance, GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState, TopicPartitionState
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.producer import sender
from aiokafka.producer.transaction_manager import TransactionManager
from faststream._internal.broker.registrator import Registrator
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream._internal.utils.functions import call_or_await
from faststream.kafka.configs import KafkaBrokerConfig
from faststream.kafka.helpers import rebalance_listener
from faststream.kafka.subscriber.config import (
    KafkaSubscriberConfig,
    KafkaSubscriberSpecificationConfig,
)
from faststream.kafka.subscriber.specification import KafkaSubscriberSpecification
from faststream.kafka.subscriber.usecase import DefaultSubscriber, LogicSubscriber


def _parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(("library", "series"), [("aiokafka", "0.14."), ("faststream", "0.7.")])
def test_the_series_is_the_one_that_was_read(library: str, series: str) -> None:
    """A new series means reading the source again."""
    assert version(library).startswith(series)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_do_add_partitions_to_txn", ["self", "tps"]),
        ("_do_add_offsets_to_txn", ["self", "group_id"]),
        ("_do_txn_offset_commit", ["self", "offsets", "group_id"]),
        ("_do_txn_commit", ["self", "commit_result"]),
        ("_find_coordinator", ["self", "coordinator_type", "coordinator_key"]),
    ],
)
def test_the_sender_makes_its_requests_where_they_are_replaced(
    name: str, parameters: list[str]
) -> None:
    """Each transactional request is sent once, by overriding these."""
    assert parameters == _parameters(getattr(sender.Sender, name))


@pytest.mark.parametrize(
    "handler",
    [
        sender.AddPartitionsToTxnHandler,
        sender.AddOffsetsToTxnHandler,
        sender.TxnOffsetCommitHandler,
        sender.EndTxnHandler,
    ],
)
def test_a_handler_retries_in_do_and_nowhere_else(handler: Any) -> None:
    """`do` sends, and swallows a lost answer; that is what must not happen."""
    assert _parameters(handler.do) == ["self", "node_id"]
    assert handler.do is sender.BaseHandler.do
    assert _parameters(handler.handle_response) == ["self", "resp"]
    assert handler.group == sender.ConnectionGroup.COORDINATION
    assert "asyncio.sleep" in inspect.getsource(sender.BaseHandler.do)


def test_a_lost_answer_is_passed_on_without_a_traceback() -> None:
    """Three errors leave the sender's loop as they are; ours is derived from one of them."""
    source = inspect.getsource(sender.Sender._sender_routine)
    passed_on = source[source.index("except (") : source.index("raise\n")]
    assert "OutOfOrderSequenceNumber" in passed_on


def test_a_sender_is_made_from_what_ours_is_made_from() -> None:
    """The strict sender takes the place of the producer's own."""
    assert _parameters(sender.Sender.__init__) == [
        "self",
        "client",
        "acks",
        "txn_manager",
        "message_accumulator",
        "retry_backoff_ms",
        "request_timeout_ms",
    ]
    source = inspect.getsource(sender.Sender.__init__)
    for name in ("_acks", "_txn_manager", "_retry_backoff", "_request_timeout_ms"):
        assert f"self.{name} = " in source
    assert "self._sender = Sender(" in inspect.getsource(AIOKafkaProducer.__init__)
    assert callable(TransactionManager.is_empty_transaction)
    assert callable(TransactionManager.complete_transaction)


def test_the_coordinator_answers_what_is_asked_of_it() -> None:
    """Offsets with metadata, a heartbeat now, and another round."""
    assert _parameters(GroupCoordinator.fetch_committed_offsets) == ["self", "partitions"]
    assert _parameters(GroupCoordinator._do_heartbeat) == ["self"]
    assert _parameters(GroupCoordinator.request_rejoin) == ["self"]
    source = inspect.getsource(GroupCoordinator.__init__)
    assert "self.generation = " in source
    assert "self.member_id = " in source
    assert "self._coordinator = GroupCoordinator(" in inspect.getsource(AIOKafkaConsumer.start)


def test_an_assignor_may_be_an_instance_with_user_data() -> None:
    """It is only ever called by name, and what it says travels unchanged."""
    assert "assignor.metadata(topics)" in inspect.getsource(
        CoordinatorGroupRebalance.perform_group_join
    )
    assert "assignor.on_assignment(assignment)" in inspect.getsource(
        GroupCoordinator._on_join_complete
    )
    said = ConsumerProtocolMemberMetadata(0, ["in"], b"said")
    heard: Any = ConsumerProtocolMemberMetadata.decode(said.encode())
    assert heard.user_data == b"said"
    given = ConsumerProtocolMemberAssignment(0, [("in", [1, 2])], b"given")
    taken: Any = ConsumerProtocolMemberAssignment.decode(given.encode())
    assert (taken.user_data, [p.partition for p in taken.partitions()]) == (b"given", [1, 2])


def test_the_assignor_is_told_before_the_listener() -> None:
    """What is to be released must be known when the assignment is."""
    source = inspect.getsource(GroupCoordinator._on_join_complete)
    assert source.index("on_assignment(") < source.index("on_partitions_assigned(")


def test_a_position_can_be_read_without_waiting() -> None:
    """The public call waits until there is one."""
    assert isinstance(SubscriptionState.subscription, property)
    assert isinstance(TopicPartitionState.has_valid_position, property)
    assert isinstance(TopicPartitionState.position, property)


def test_a_seek_drops_what_was_fetched() -> None:
    """No record from before the seek is returned after it."""
    assert "del self._records[tp]" in inspect.getsource(Fetcher.seek_to)


def test_partitions_that_are_not_asked_for_keep_their_buffers() -> None:
    """Why `getmany` of a partition that does not exist keeps the membership and costs nothing."""
    source = inspect.getsource(Fetcher.fetched_records)
    assert "if partitions and tp not in partitions:" in source
    assert "if not self._subscriptions.is_assigned(tp):" in source


def test_a_subscriber_can_be_derived_from() -> None:
    """The consumer's factory, the loop and the end are overridden."""
    assert isinstance(LogicSubscriber.builder, property)
    assert _parameters(DefaultSubscriber._run_consume_loop) == ["self", "consumer"]
    assert inspect.iscoroutinefunction(DefaultSubscriber.stop)
    source = inspect.getsource(LogicSubscriber.start)
    assert "self.builder(" in source
    assert "self.add_task(self._run_consume_loop" in source
    assert _parameters(Registrator.subscriber) == ["self", "subscriber", "persistent"]
    assert callable(CallsCollection)
    assert "builder" in inspect.signature(KafkaBrokerConfig).parameters


def test_a_subscriber_is_configured_by_what_ours_is() -> None:
    """The same two dataclasses that FastStream's factory fills."""
    usual = set(inspect.signature(KafkaSubscriberConfig).parameters)
    assert {"topics", "group_id", "listener", "connection_args", "_ack_policy"} <= usual
    described = set(inspect.signature(KafkaSubscriberSpecificationConfig).parameters)
    assert {"topics", "title_", "description_", "include_in_schema"} <= described
    assert "specification_config" in _parameters(KafkaSubscriberSpecification.__init__)


async def test_a_plain_callback_would_run_in_another_thread() -> None:
    """Why the assignment callback is a coroutine that awaits nothing."""
    threads = []
    await call_or_await(lambda: threads.append(threading.current_thread()))
    assert threads != [threading.current_thread()]
    assert "call_or_await" in inspect.getsource(rebalance_listener)
