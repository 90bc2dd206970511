"""Orders: takes them over HTTP, and ends them as payments decides."""

import os
import socket
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import orjson
import uvicorn
from fastapi import FastAPI, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)

from messaging import DECIDED, PLACED, STORE, Relay, message, metadata, open_broker, open_engine, outbox, supervise

orders = Table(
    "orders",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("amount", BigInteger, CheckConstraint("amount > 0"), nullable=False),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False, server_default="NEW"),
    Column("cancel_reason", Text),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("update_time", DateTime(timezone=True)),
)
Index("orders_new", orders.c.id, postgresql_where=orders.c.status == literal_column("'NEW'"))

engine = open_engine()
broker = open_broker()
relay = Relay(engine, broker)


class NewOrder(BaseModel):
    userId: Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")]
    amount: Annotated[int, Field(gt=0, le=10**12)]
    description: Annotated[str, Field(max_length=1024)] = ""


PLACE = insert(orders)
# Ended orders stay as they are, so a decision that comes again changes nothing.
END = (
    update(orders)
    .where(orders.c.id == bindparam("order_id"), orders.c.status == "NEW")
    .values(status=bindparam("ended"), cancel_reason=bindparam("reason"), update_time=func.now())
)


@broker.subscriber(DECIDED)
async def end(received: tuple[uuid.UUID, dict]) -> None:
    _, decision = received
    ended = {"order_id": uuid.UUID(decision["orderId"]), "ended": decision["status"], "reason": decision.get("reason")}
    async with engine.begin() as connection:
        await connection.execute(END, ended)


@asynccontextmanager
async def lifespan(_: FastAPI):
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: metadata.create_all(sync, tables=[orders, outbox]))
    await broker.start()
    await broker.declare_queue(PLACED)
    task = await supervise(relay)
    print(f"listening http=127.0.0.1:{listener.getsockname()[1]}", flush=True)
    yield
    task.cancel()
    await broker.stop()
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


def answer(value: dict) -> Response:
    return Response(orjson.dumps(value, default=str), media_type="application/json")


@app.post("/gateway/orders")
async def place(new: NewOrder) -> Response:
    order_id, now = uuid.uuid4(), datetime.now(UTC)
    order = {
        "id": order_id,
        "user_id": new.userId,
        "amount": new.amount,
        "description": new.description,
        "create_time": now,
    }
    placed = {"orderId": str(order_id), "userId": new.userId, "amount": new.amount}
    async with engine.begin() as connection:
        await connection.execute(PLACE, order)
        await connection.execute(STORE, message(PLACED, placed))
    relay.wake()
    return answer(shown(**order, status="NEW"))


@app.get("/gateway/orders")
async def list_orders(status: str | None = None, pageSize: Annotated[int, Query(ge=1, le=1000)] = 50) -> Response:
    page = select(orders).order_by(orders.c.id).limit(pageSize)
    if status == "NEW":
        # Written out, so that the partial index is used by a prepared statement too.
        page = page.where(orders.c.status == literal_column("'NEW'"))
    elif status is not None:
        page = page.where(orders.c.status == status)
    async with engine.connect() as connection:
        rows = (await connection.execute(page)).mappings().all()
    return answer({"orders": [shown(**row) for row in rows]})


def shown(id, user_id, amount, description, status, create_time, cancel_reason=None, update_time=None) -> dict:
    """An order as JSON shows it: whole numbers of 64 bits are strings there."""
    order = {"id": id, "userId": user_id, "amount": str(amount), "description": description, "status": status}
    return order | {"cancelReason": cancel_reason, "createTime": create_time, "updateTime": update_time}


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=1024)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
