"""A simulated worker process: the engine over ports that a bad network connects to the model."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from services.runtime.engine.cadence import Heart
from services.runtime.engine.engine import Engine
from services.runtime.engine.ports import (
    Committed,
    Fenced,
    Indeterminate,
    OutOfRange,
    Output,
    Partition,
    Record,
    Refused,
)
from tests.simulation.broker import Concurrent, Refusal, StaleEpoch, TooLarge
from tests.simulation.group import Unknown, holding

if TYPE_CHECKING:
    from tests.simulation.world import World

REQUEST_TIMEOUT = 4.0
HEARTBEAT = 1.5
POLL = 2.0


class Process:
    """One incarnation of a worker; dies at most once, and then does nothing any more."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.is_dead = False
        self.is_paused = False
        self._tasks: list[asyncio.Task[Any]] = []
        self._resumed = asyncio.Event()
        self._generation = 0
        self._assigned: tuple[Partition, ...] = ()
        self._positions: dict[Partition, int] = {}
        self._must_join = True
        self.handling: set[tuple[Partition, int]] = set()
        """Calls that are being made."""
        self.fenced: set[Partition] = set()
        """Partitions whose loss this process knows of, and which it has not claimed since."""
        self.engine = Engine(
            group="group",
            log=self,
            transactions=self,
            work=world.work(self),
            limits=world.limits,
            heart=Heart(interval=5.0, cpu_time=world.cpu_time),
        )

    def start(self) -> None:
        """Join the group and poll."""
        for each in (self.engine.run(), self._membership()):
            self._tasks.append(asyncio.create_task(each))

    def kill(self) -> None:
        """End at once, as kill -9 does: what it waits for never comes."""
        self.is_dead = True
        self.cancel()

    def cancel(self) -> None:
        """End its tasks."""
        # Nothing of a dead process may have an effect: its ports hang, and its tasks are ended so
        # that the loop has nothing left of them. Their clean-up code meets ports that hang, too.
        lanes = self.engine._tasks.values()
        self.engine._is_draining = True  # or it would claim lost lanes again
        for task in (*self._tasks, *lanes):
            task.cancel()

    def pause(self) -> None:
        """Stop hearing from the world, as after SIGSTOP or a cut network."""
        self.is_paused = True
        self._resumed.clear()

    def resume(self) -> None:
        """Hear from the world again."""
        self.is_paused = False
        self._resumed.set()

    async def is_awake(self) -> None:
        """Wait until a pause ends."""
        while self.is_paused:
            await self._resumed.wait()

    async def stop(self, hurry: float | None) -> None:
        """Drain and leave, as at SIGTERM; after `hurry` seconds at once, as at a second one."""
        draining = asyncio.create_task(self.engine.drain(self.world.grace))
        await asyncio.wait({draining}, timeout=hurry)
        if not draining.done():
            draining.cancel()
            await asyncio.wait({draining})
            await self.engine.stop()
        else:
            draining.result()
        with suppress(Indeterminate):
            await self.ask("leave", lambda: self.world.group.leave(self.name))
        self.is_dead = True
        self.cancel()

    # --- the network -----------------------------------------------------------------------

    async def ask(self, kind: str, act: Callable[[], Any]) -> Any:
        """Send a request: delayed, lost, executed late, or its answer lost; or the process dies."""
        world, chance = self.world, self.world.random
        await self._alive(kind)
        delay = world.delay()
        fate = chance.random() if world.is_faulty else 1.0
        loss = world.loss
        if fate < loss:  # never arrives
            await asyncio.sleep(REQUEST_TIMEOUT)
            await self._alive(kind)
            raise Indeterminate(f"{kind} lost")
        if fate < 2 * loss:  # arrives when nobody waits for it any more
            late = delay + chance.uniform(0.2, 3 * REQUEST_TIMEOUT)
            asyncio.get_running_loop().call_later(late, _ignore, act)
            await asyncio.sleep(min(late, REQUEST_TIMEOUT) * 0.9)
            await self._alive(kind)
            raise Indeterminate(f"{kind} late")
        await asyncio.sleep(delay)
        answer: Any = None
        refusal: Exception | None = None
        try:
            answer = act()
        except (Refusal, Unknown) as exc:
            refusal = exc
        if fate < 3 * loss:  # its answer is lost
            await asyncio.sleep(world.delay() + REQUEST_TIMEOUT * chance.random())
            await self._alive(kind)
            raise Indeterminate(f"answer to {kind} lost")
        await asyncio.sleep(world.delay())
        await self._alive(kind)
        if refusal is not None:
            raise refusal
        return answer

    async def _alive(self, kind: str) -> None:
        if self.world.is_faulty and not self.is_dead:
            self.world.maybe_strike(self, kind)
        if self.is_dead:
            await asyncio.get_running_loop().create_future()
        await self.is_awake()

    # --- the group -------------------------------------------------------------------------

    async def _membership(self) -> None:
        while True:
            if self._must_join:
                await self.engine.revoked()
                await self._join()
            await asyncio.sleep(HEARTBEAT)
            with suppress(Indeterminate):
                await self.is_member()

    async def _join(self) -> None:
        group = self.world.group
        member = holding(self.engine.claims(), self._generation, is_leaving=self.engine.is_leaving)
        try:
            waiting = await self.ask("join", lambda: group.join(self.name, member))
            async with asyncio.timeout(10.0):
                share = await waiting
            await self._alive("sync")
        except (Indeterminate, TimeoutError):
            return
        seat = group.seats.get(self.name)
        if seat is None or seat.joining is not None:
            return
        self._must_join = False
        self._generation = seat.generation
        self._assigned = share.partitions
        self._positions.clear()
        self.engine.assigned(share.partitions, share.release)
        self.world.poke()

    async def is_member(self) -> bool:
        """Send a heartbeat."""
        group = self.world.group
        generation = self._generation
        try:
            must_join = await self.ask("heartbeat", lambda: group.heartbeat(self.name, generation))
        except Unknown:
            self._must_join = True
            return False
        self._must_join = self._must_join or must_join
        return True

    def rejoin(self) -> None:
        """Ask for another round."""
        self._must_join = True

    # --- Log -------------------------------------------------------------------------------

    async def poll(
        self, open_partitions: Sequence[Partition], max_records: int, *, wait: bool
    ) -> list[Record]:
        """Read what is there, or wait a little."""
        await self._alive("poll")
        await self._maybe_fail(open_partitions, max_records)
        found = self._read(open_partitions, max_records)
        if not found and open_partitions and wait:
            await self.world.wait_for_data(POLL)
            await self._alive("poll")
            found = self._read(open_partitions, max_records)
        else:
            await asyncio.sleep(0.001)
        return found

    async def _maybe_fail(self, partitions: Sequence[Partition], most: int) -> None:
        """Fail as a client does that has drained some buffers when it meets one it cannot read."""
        chance = self.world.random
        if not (partitions and self.world.is_faulty and chance.random() < self.world.unreadable):
            return
        culprit = chance.choice(partitions)
        self._read([each for each in partitions if each != culprit], most)
        await asyncio.sleep(chance.uniform(0, POLL))
        if chance.random() < 0.2:
            raise OutOfRange([culprit])
        raise Indeterminate("unreadable")

    def _read(self, partitions: Sequence[Partition], most: int) -> list[Record]:
        found: list[Record] = []
        for partition in partitions:
            position = self._positions.get(partition)
            if partition not in self._assigned or position is None:
                continue
            log = self.world.log(partition)
            for record in log:
                if record.offset >= position and len(found) < most:
                    found.append(record)
                    self._positions[partition] = record.offset + 1
            if log and self._positions[partition] > log[-1].offset:
                self._positions[partition] = self.world.bounds(partition)[1]  # past the markers
        return found

    def position(self, partition: Partition) -> int | None:
        """Return where it reads on."""
        return self._positions.get(partition)

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from there."""
        self._positions[partition] = offset

    async def committed(self, partition: Partition) -> Committed:
        """Read the group's offset."""
        offsets = self.world.broker.offsets
        found: Committed = await self.ask(
            "committed", lambda: offsets.get(partition, Committed(-1, ""))
        )
        return found

    async def bounds(self, partition: Partition) -> tuple[int, int]:
        """Read the log's bounds."""
        found: tuple[int, int] = await self.ask("bounds", lambda: self.world.bounds(partition))
        return found

    # --- Transactions ----------------------------------------------------------------------

    async def fence(self, partition: Partition) -> "Producer":
        """Initialise the partition's producer."""
        name = f"group.{partition.topic}.{partition.number}"
        broker = self.world.broker
        while True:
            try:
                epoch = await self.ask("initialise", lambda: broker.initialise(name))
            except Concurrent:
                await asyncio.sleep(0.02)
            else:
                self.fenced.discard(partition)
                return Producer(self, name, epoch, partition)


class Producer:
    """The writing side of one partition."""

    def __init__(self, process: Process, name: str, epoch: int, partition: Partition) -> None:
        self._process = process
        self._broker = process.world.broker
        self._name, self._epoch, self._partition = name, epoch, partition
        self._sends: list[asyncio.Task[None]] = []
        self._failed: Exception | None = None

    async def begin(self) -> None:
        """Open a transaction."""
        if self._failed is not None:
            raise self._failed
        self._sends.clear()

    async def send(self, output: Output) -> Awaitable[None]:
        """Send in the background, like a client that batches."""
        task = asyncio.create_task(
            self._ask("produce", lambda: self._broker.produce(self._name, self._epoch, output))
        )
        self._process._tasks.append(task)
        self._sends.append(task)
        return _Acknowledged(task, output, self._hear)

    async def send_progress(self, progress: Committed) -> None:
        """Add progress to the transaction."""
        with self._hear():
            await self._ask(
                "offsets",
                lambda: self._broker.add_offsets(
                    self._name, self._epoch, self._partition, progress
                ),
            )

    async def commit(self) -> None:
        """End the transaction once the sends are answered, whatever the answers were."""
        if self._sends:
            await asyncio.wait(self._sends)
        with self._hear():
            await self._ask("end", lambda: self._broker.end(self._name, self._epoch))

    async def close(self) -> None:
        """Let go."""
        if self._process.is_dead:
            return
        await asyncio.sleep(0)

    @contextmanager
    def _hear(self) -> Iterator[None]:
        """Note that the process is told of its loss."""
        try:
            yield
        except Fenced:
            self._process.fenced.add(self._partition)
            raise

    async def _ask(self, kind: str, act: Callable[[], None]) -> None:
        while True:
            try:
                await self._process.ask(kind, act)
            except Concurrent:
                await asyncio.sleep(0.02)
            except StaleEpoch as exc:
                raise Fenced from exc
            else:
                return


class _Acknowledged:
    def __init__(
        self,
        task: "asyncio.Task[None]",
        output: Output,
        hear: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._task, self._output, self._hear = task, output, hear
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    def __await__(self) -> Generator[Any, None, None]:
        try:
            with self._hear():
                yield from asyncio.shield(self._task).__await__()
        except TooLarge as exc:
            raise Refused(self._output, "too large") from exc


def _ignore(act: Callable[[], Any]) -> None:
    with suppress(Refusal, Unknown):
        act()
