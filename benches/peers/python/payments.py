"""Payments: books each placed order once, or rejects it, and says so."""

import asyncio
import os
import signal
import uuid

import uvloop
from faststream.rabbit.annotations import RabbitMessage
from pydantic import BaseModel
from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Table, Text, Uuid, func, insert, literal, select, text, update

from messaging import DECIDED, PLACED, Relay, first_time, inbox, message, metadata, open_broker, open_engine, outbox, supervise

accounts = Table(
    "accounts",
    metadata,
    Column("user_id", Text, primary_key=True),
    Column("balance", BigInteger, CheckConstraint("balance >= 0"), nullable=False),
    Column("update_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
ledger = Table(
    "ledger",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("order_id", Uuid, unique=True, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("balance_after", BigInteger, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

engine = open_engine()
broker = open_broker()
relay = Relay(engine, broker)


class Placed(BaseModel):
    orderId: uuid.UUID
    userId: str
    amount: int


@broker.subscriber(PLACED)
async def decide(order: Placed, received: RabbitMessage) -> None:
    async with engine.begin() as connection:
        if (await connection.execute(first_time(received.message_id))).first() is None:
            return
        if (await connection.execute(booking(order))).first() is not None:
            decision = {"status": "FINISHED"}
        else:
            found = await connection.scalar(select(accounts.c.user_id).where(accounts.c.user_id == order.userId))
            decision = {"status": "CANCELLED", "reason": "INSUFFICIENT_FUNDS" if found else "ACCOUNT_NOT_FOUND"}
        await connection.execute(message(DECIDED, {"orderId": str(order.orderId), **decision}))
    relay.wake()


def booking(order: Placed):
    """Debits the account and writes the entry, if there is enough money, in one statement; returns a row if so."""
    debited = (
        update(accounts)
        .where(accounts.c.user_id == order.userId, accounts.c.balance >= order.amount)
        .values(balance=accounts.c.balance - order.amount, update_time=func.now())
        .returning(accounts.c.balance)
        .cte("debited")
    )
    values = [literal(uuid.uuid4(), Uuid), literal(order.orderId, Uuid), literal(order.userId, Text), literal(-order.amount, BigInteger)]
    entry = select(*values, debited.c.balance)
    return insert(ledger).from_select(["id", "order_id", "user_id", "amount", "balance_after"], entry).returning(ledger.c.id)


async def main() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: metadata.create_all(sync, tables=[accounts, ledger, inbox, outbox]))
        await connection.execute(
            text(
                "INSERT INTO accounts (user_id, balance) SELECT 'user-' || n, 1000000000"
                " FROM generate_series(0, CAST(:accounts AS int) - 1) AS n ON CONFLICT DO NOTHING"
            ),
            {"accounts": int(os.environ.get("ACCOUNTS", "0"))},
        )
    await broker.start()
    await broker.declare_queue(DECIDED)
    task = await supervise(relay)
    print(f"ready payments={os.getpid()}", flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    task.cancel()
    await broker.stop()
    await engine.dispose()


if __name__ == "__main__":
    uvloop.run(main())
