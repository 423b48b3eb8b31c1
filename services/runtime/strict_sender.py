"""aiokafka's producer with transactional requests that are sent once.

The client sends a request again when its answer was lost. An EndTxn that is sent twice can end the
*next* transaction, so here a lost answer raises: the result is unknown, and looked up.
"""

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaError, OutOfOrderSequenceNumber
from aiokafka.producer.sender import (
    AddOffsetsToTxnHandler,
    AddPartitionsToTxnHandler,
    EndTxnHandler,
    Sender,
    TxnOffsetCommitHandler,
)


def make_strict(producer: AIOKafkaProducer) -> None:
    """Replace the sender of a producer that has not been started."""
    made = producer._sender  # noqa: SLF001
    producer._sender = _StrictSender(  # noqa: SLF001
        producer.client,
        acks=made._acks,  # noqa: SLF001
        txn_manager=made._txn_manager,  # noqa: SLF001
        message_accumulator=made._message_accumulator,  # noqa: SLF001
        retry_backoff_ms=int(made._retry_backoff * 1000),  # noqa: SLF001
        request_timeout_ms=made._request_timeout_ms,  # noqa: SLF001
    )


class UnansweredError(OutOfOrderSequenceNumber):  # type: ignore[misc]
    """No answer came. Derived from what aiokafka's sender passes on without logging a traceback."""


class _Strict:
    """A request that is sent once: without an answer, whether it took effect is not known."""

    async def do(self, node_id: int) -> bool:
        handler: Any = self
        request = handler.create_request()
        try:
            answer = await handler._sender.client.send(  # noqa: SLF001
                node_id, request, group=handler.group
            )
        except KafkaError as exc:
            raise UnansweredError(f"{type(request).__name__}: {exc!r}") from exc
        backoff = handler.handle_response(answer)
        if backoff is None:
            return True
        await asyncio.sleep(backoff)  # the broker has said that it did nothing: ask again
        return False


class _StrictAddPartitions(_Strict, AddPartitionsToTxnHandler):  # type: ignore[misc]
    pass


class _StrictAddOffsets(_Strict, AddOffsetsToTxnHandler):  # type: ignore[misc]
    pass


class _StrictOffsetCommit(_Strict, TxnOffsetCommitHandler):  # type: ignore[misc]
    pass


class _StrictEndTxn(_Strict, EndTxnHandler):  # type: ignore[misc]
    pass


class _StrictSender(Sender):  # type: ignore[misc]
    """aiokafka's sender with requests that are sent once."""

    async def _do_add_partitions_to_txn(self, tps: set[TopicPartition]) -> bool:
        node = await self._transaction_coordinator()
        return await _StrictAddPartitions(self, tps).do(node)

    async def _do_add_offsets_to_txn(self, group_id: str) -> bool:
        node = await self._transaction_coordinator()
        return await _StrictAddOffsets(self, group_id).do(node)

    async def _do_txn_offset_commit(self, offsets: Any, group_id: str) -> bool:
        node = await self._find_coordinator(CoordinationType.GROUP, group_id)
        return await _StrictOffsetCommit(self, offsets, group_id).do(node)

    async def _do_txn_commit(self, commit_result: Any) -> None:
        await self._message_accumulator.flush_for_commit()
        if self._txn_manager.is_empty_transaction():
            self._txn_manager.complete_transaction()
            return
        node = await self._transaction_coordinator()
        await _StrictEndTxn(self, commit_result).do(node)

    async def _transaction_coordinator(self) -> int:
        return await self._find_coordinator(  # type: ignore[no-any-return]
            CoordinationType.TRANSACTION, self._txn_manager.transactional_id
        )
