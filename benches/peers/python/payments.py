"""Payments: books each placed order once, or rejects it, and says so."""

import asyncio
import os
import signal
import uuid

import uvloop
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from messaging import (
    DECIDED,
    FIRST_TIME,
    PLACED,
    STORE,
    Relay,
    inbox,
    message,
    metadata,
    open_broker,
    open_engine,
    outbox,
    supervise,
)

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


DEBITED = (
    update(accounts)
    .where(accounts.c.user_id == bindparam("user"), accounts.c.balance >= bindparam("price", type_=BigInteger))
    .values(balance=accounts.c.balance - bindparam("price", type_=BigInteger), update_time=func.now())
    .returning(accounts.c.balance)
    .cte("debited")
)
# Debits the account and writes the entry, if there is enough money, in one statement; returns a row if so.
BOOK = (
    insert(ledger)
    .from_select(
        ["id", "order_id", "user_id", "amount", "balance_after"],
        select(
            bindparam("entry", type_=Uuid),
            bindparam("order", type_=Uuid),
            bindparam("user", type_=Text),
            -bindparam("price", type_=BigInteger),
            DEBITED.c.balance,
        ),
    )
    .returning(ledger.c.id)
)
HAS_ACCOUNT = select(accounts.c.user_id).where(accounts.c.user_id == bindparam("user"))


@broker.subscriber(PLACED)
async def decide(received: tuple[uuid.UUID, dict]) -> None:
    message_id, order = received
    async with engine.begin() as connection:
        if (await connection.execute(FIRST_TIME, {"id": message_id})).first() is None:
            return
        await connection.execute(STORE, message(DECIDED, await decision(connection, order)))
    relay.wake()


async def decision(connection: AsyncConnection, order: dict) -> dict:
    user = {"user": order["userId"]}
    booking = {"entry": uuid.uuid4(), "order": uuid.UUID(order["orderId"]), "price": order["amount"]}
    if (await connection.execute(BOOK, booking | user)).first() is not None:
        return {"orderId": order["orderId"], "status": "FINISHED"}
    found = await connection.scalar(HAS_ACCOUNT, user)
    reason = "INSUFFICIENT_FUNDS" if found else "ACCOUNT_NOT_FOUND"
    return {"orderId": order["orderId"], "status": "CANCELLED", "reason": reason}


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
