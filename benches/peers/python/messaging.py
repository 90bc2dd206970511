"""What both services share: an outbox in SQLAlchemy with its relay, and RabbitMQ by FastStream."""

import asyncio
import os
import sys
import uuid

import orjson
from faststream import AckPolicy
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitMessage, RabbitQueue
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    DateTime,
    Identity,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

PLACED = RabbitQueue("peer.python.orders.placed", queue_type=QueueType.QUORUM, durable=True)
DECIDED = RabbitQueue("peer.python.payments.decided", queue_type=QueueType.QUORUM, durable=True)

# As many messages as are handled at once, each by a task and a connection of its own: their commits share flushes.
PARALLEL = int(os.environ.get("PARALLEL", "32"))
WINDOW = 500
# How long the relay sleeps at most: it is woken by each commit, and this is for the start and for what failed.
PATIENCE_S = 1.0

metadata = MetaData()

outbox = Table(
    "outbox",
    metadata,
    Column("seq", BigInteger, Identity(), primary_key=True),
    Column("id", Uuid, nullable=False),
    Column("queue", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

inbox = Table(
    "inbox",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("receive_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
)


def open_engine() -> AsyncEngine:
    url = os.environ["DATABASE_URL"].replace("postgres://", "postgresql+asyncpg://", 1)
    return create_async_engine(url, pool_size=PARALLEL, max_overflow=0, pool_timeout=60)


def open_broker() -> RabbitBroker:
    # Confirms on, and a returned message is an error; acknowledged when the handler, and so its commit, has ended.
    channel = Channel(prefetch_count=PARALLEL, publisher_confirms=True, on_return_raises=True)
    return RabbitBroker(
        os.environ["AMQP_URL"],
        default_channel=channel,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        # The messages are our own, so the handlers take them as they are: no validation, no dependencies.
        apply_types=False,
        decoder=decode,
        logger=None,
    )


async def decode(received: RabbitMessage) -> tuple[uuid.UUID, dict]:
    return uuid.UUID(received.message_id), orjson.loads(received.body)


# Statements are built once: SQLAlchemy's cache spares the compilation, not the construction.
STORE = insert(outbox)
FIRST_TIME = upsert(inbox).on_conflict_do_nothing().returning(inbox.c.id)
OLDEST = select(outbox).order_by(outbox.c.seq).limit(WINDOW).with_for_update(skip_locked=True)
CONFIRMED = delete(outbox).where(outbox.c.seq == func.any(bindparam("confirmed", type_=ARRAY(BigInteger))))


def message(queue: RabbitQueue, payload: dict) -> dict:
    """The row that puts a message into the outbox."""
    return {"id": uuid.uuid4(), "queue": queue.name, "payload": orjson.dumps(payload)}


class Relay:
    """Publishes what is in the outbox and removes it once it is confirmed; several processes may share a table."""

    def __init__(self, engine: AsyncEngine, broker: RabbitBroker) -> None:
        self._engine = engine
        self._broker = broker
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        while True:
            self._woken.clear()
            try:
                full = await self._window() == WINDOW
            except Exception as error:  # the next attempt publishes again what was not removed
                print("relay:", repr(error), file=sys.stderr)
                await asyncio.sleep(PATIENCE_S)
                continue
            if not full:
                try:
                    await asyncio.wait_for(self._woken.wait(), PATIENCE_S)
                except TimeoutError:
                    pass

    async def _window(self) -> int:
        async with self._engine.begin() as connection:
            rows = (await connection.execute(OLDEST)).all()
            if rows:
                await asyncio.gather(*(self._publish(row) for row in rows))
                await connection.execute(CONFIRMED, {"confirmed": [row.seq for row in rows]})
            return len(rows)

    async def _publish(self, row) -> None:
        await self._broker.publish(
            row.payload,
            row.queue,
            persist=True,
            mandatory=True,
            message_id=str(row.id),
            content_type="application/json",
        )


async def supervise(relay: Relay) -> asyncio.Task:
    """Runs the relay; when it dies, so does the process, and whoever supervises it starts it again."""
    task = asyncio.create_task(relay.run())
    task.add_done_callback(lambda ended: None if ended.cancelled() else os._exit(1))
    return task
