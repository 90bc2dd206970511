//! The mesh as it is deployed: each service is a user of its own to the broker, and two roles to the database. What such a user forges moves no
//! money wrongly.

use anyhow::{Context as _, Result, ensure};
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use ordermesh::{
    orders::v1::OrderPlaced,
    payments::v1::{
        Payment, PaymentDecided, VoidPayment,
        payment::{Outcome, Reason},
    },
};
use prost::{Message, Name};
use sea_orm::{ConnectionTrait as _, Database};
use uuid::Uuid;
use world::{PATIENCE, RabbitMq, eventually};

use crate::{
    check::check,
    mesh::{ADMIN_TOKEN, Mesh},
};

#[tokio::test]
async fn a_service_may_do_what_it_does_and_no_more() -> Result<()> {
    let mesh = Mesh::start_as_deployed(&[]).await?;
    mesh.account("alice", 1_000).await?;
    for (amount, end) in [(300, "FINISHED"), (5_000, "CANCELLED")] {
        let id = mesh.order("alice", amount).await?;
        ensure!(mesh.ended(&id).await?["status"] == end);
    }
    let cancelled = mesh.order("alice", 1).await?;
    let cancel = format!("/gateway/orders/{cancelled}:cancel");
    let asked = mesh.api.post(&cancel, &serde_json::json!({})).await?;
    ensure!([200, 400].contains(&asked.status.as_u16()), "{}", asked.text);
    mesh.ended(&cancelled).await?;
    mesh.at_rest().await?;

    let postgres = mesh.postgres.as_ref().context("a mesh on PostgreSQL")?;
    for (service, other) in [("orders", "payments"), ("payments", "orders")] {
        let url = |database: &str| postgres.url(database).replace("postgres@", &format!("{service}@"));
        ensure!(Database::connect(url(other)).await.is_err(), "{service} may connect to {other}");
        let database = Database::connect(url(service)).await?;
        for sql in [
            "CREATE TABLE more (id BIGINT)",
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "DROP TRIGGER append_only ON operator_actions",
            "ALTER TABLE operator_actions DISABLE TRIGGER ALL",
            "SET session_replication_role = replica",
            "DELETE FROM operator_actions",
            "TRUNCATE operator_actions",
            "DROP TABLE outbox",
        ] {
            ensure!(database.execute_unprepared(sql).await.is_err(), "{service} may {sql}");
        }
        database.close().await?;
    }
    Ok(())
}

/// No message is at fault for what the role may not do.
#[tokio::test]
async fn a_right_that_was_lost_parks_nothing() -> Result<()> {
    let mesh = Mesh::start_as_deployed(&[]).await?;
    mesh.account("alice", 1_000).await?;
    let postgres = mesh.postgres.as_ref().context("a mesh on PostgreSQL")?;
    let operator = Database::connect(postgres.url("payments")).await?;
    operator.execute_unprepared("REVOKE INSERT ON payments FROM payments").await?;
    let id = mesh.order("alice", 1).await?;
    eventually("the consumer to say why it stands still", PATIENCE, async || {
        let seen = mesh.admin("payments")?.get("/readyz").await?;
        let is_degraded = seen.body["states"]["payments.consumer.0"] == "degraded";
        ensure!(is_degraded && seen.text.contains("permission denied"), "{}", seen.text);
        anyhow::Ok(())
    })
    .await?;
    operator.execute_unprepared("GRANT INSERT ON payments TO payments").await?;
    ensure!(mesh.ended(&id).await?["status"] == "FINISHED");
    mesh.at_rest().await
}

/// What somebody publishes as this user of the broker: confirmed, or the reason of the broker.
async fn publish<M: Message + Name>(
    rabbitmq: &RabbitMq,
    user: &str,
    id: Uuid,
    payload: &M,
) -> Result<Result<(), String>> {
    let kind = M::full_name();
    let route = format!("{kind}.0");
    send(rabbitmq, user, "ordermesh.events", &route, id, &kind, payload.encode_to_vec()).await
}

async fn send(
    rabbitmq: &RabbitMq,
    user: &str,
    exchange: &str,
    route: &str,
    id: Uuid,
    kind: &str,
    payload: Vec<u8>,
) -> Result<Result<(), String>> {
    let url = rabbitmq.amqp_url().replace("guest:guest", &format!("{user}:{user}-amqp"));
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", id.to_string().as_str()),
        ("source", "/ordermesh/orders"),
        ("type", kind),
        ("time", "2026-01-31T12:00:00Z"),
        ("partitionkey", "alice"),
        ("authtype", "app_user"),
        ("authid", "alice"),
    ] {
        headers.insert(format!("cloudEvents:{name}").into(), AMQPValue::LongString(value.into()));
    }
    let properties =
        BasicProperties::default().with_content_type("application/protobuf".into()).with_headers(headers);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish(exchange.into(), route.into(), options, &payload, properties).await;
    let confirmed = match sent {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    Ok(match confirmed {
        Ok(Confirmation::Ack(None)) => Ok(()),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(error.to_string()),
    })
}

fn placed(order: &str, user: &str, amount: i64) -> OrderPlaced {
    let (order_id, user_id, currency_code) = (order.into(), user.into(), "RUB".into());
    OrderPlaced { order_id, user_id, amount, currency_code, ..OrderPlaced::default() }
}

fn decided(order: &str, user: &str, amount: i64, outcome: Outcome) -> PaymentDecided {
    let reason = if outcome == Outcome::Paid { Reason::Unspecified } else { Reason::InsufficientFunds };
    let payment = Payment {
        order_id: order.into(),
        user_id: user.into(),
        amount,
        currency_code: "RUB".into(),
        outcome: outcome.into(),
        reason: reason.into(),
        ledger_entry_id: if outcome == Outcome::Paid {
            Uuid::from_u128(9).to_string()
        } else {
            String::new()
        },
        ..Payment::default()
    };
    PaymentDecided { payment: Some(payment) }
}

fn void(order: &str, user: &str, amount: i64) -> VoidPayment {
    VoidPayment {
        order_id: order.into(),
        user_id: user.into(),
        amount,
        currency_code: "RUB".into(),
        reason: Reason::UserRequested.into(),
    }
}

/// A kind that is another service's, whatever way it is sent.
async fn other_kinds_are_refused(rabbitmq: &RabbitMq, order: &str) -> Result<()> {
    let (strange, fresh) = (Uuid::from_u128(8).to_string(), Uuid::from_u128(6));
    let (kind, payload) = (OrderPlaced::full_name(), placed(&strange, "bob", 5).encode_to_vec());
    for refused in [
        publish(rabbitmq, "payments", fresh, &placed(&strange, "bob", 5)).await?,
        publish(rabbitmq, "payments", fresh, &void(order, "alice", 300)).await?,
        publish(rabbitmq, "orders", fresh, &decided(order, "alice", 300, Outcome::Rejected)).await?,
        send(rabbitmq, "payments", "", "ordermesh.events.payments.0", fresh, &kind, payload).await?,
    ] {
        let refusal = refused.err().context("it was taken")?;
        ensure!(refusal.contains("ACCESS_REFUSED"), "{refusal}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_user_of_the_broker_forges_moves_no_money() -> Result<()> {
    let env = [("ADMIN_TOKEN", ADMIN_TOKEN.to_owned()), ("PARTITIONS", "1".to_owned())];
    let mesh = Mesh::start_as_deployed(&env).await?;
    let rabbitmq = mesh.rabbitmq.as_ref().context("a mesh on RabbitMQ")?;
    for user in ["alice", "bob"] {
        mesh.account(user, 1_000).await?;
    }
    let order = mesh.order("alice", 300).await?;
    let paid = mesh.ended(&order).await?;
    ensure!(paid["status"] == "FINISHED", "{paid}");
    let (first, fresh) = (order.parse::<Uuid>()?, Uuid::from_u128(7));

    other_kinds_are_refused(rabbitmq, &order).await?;
    // The same again, under its own id and under another one; and its void, which comes too late.
    for again in [first, fresh] {
        let replayed = publish(rabbitmq, "orders", again, &placed(&order, "alice", 300)).await?;
        ensure!(replayed == Ok(()), "{replayed:?}");
    }
    let late = publish(rabbitmq, "orders", Uuid::from_u128(10), &void(&order, "alice", 300)).await?;
    ensure!(late == Ok(()), "{late:?}");
    // Another user's account, and another amount, for an order that was decided about; decisions that do not fit theirs.
    let forged = [
        publish(rabbitmq, "orders", Uuid::from_u128(11), &placed(&order, "bob", 300)).await?,
        publish(rabbitmq, "orders", Uuid::from_u128(12), &placed(&order, "alice", 999)).await?,
        publish(rabbitmq, "orders", Uuid::from_u128(13), &void(&order, "bob", 300)).await?,
        publish(rabbitmq, "payments", Uuid::from_u128(14), &decided(&order, "alice", 300, Outcome::Rejected))
            .await?,
        publish(rabbitmq, "payments", Uuid::from_u128(15), &decided(&order, "bob", 300, Outcome::Paid))
            .await?,
    ];
    ensure!(forged.iter().all(Result::is_ok), "{forged:?}");
    for (service, parked) in [("payments", 3), ("orders", 2)] {
        eventually("what does not fit to be parked", PATIENCE, async || {
            let found = mesh.count(service, "SELECT COUNT(*) FROM parked").await?;
            ensure!(found == parked, "{service} has parked {found}");
            anyhow::Ok(())
        })
        .await?;
    }
    // Behind all of that, an order goes its way: everything before it was looked at.
    let next = mesh.order("bob", 1).await?;
    ensure!(mesh.ended(&next).await?["status"] == "FINISHED");
    ensure!(mesh.balance("alice").await? == 700 && mesh.balance("bob").await? == 999);
    ensure!(mesh.api.get(&format!("/gateway/orders/{order}")).await?.body == paid, "the order has changed");
    ensure!(mesh.count("payments", "SELECT COUNT(*) FROM ledger_entries").await? == 4);
    let (_, broken) = check(&mesh).await?;
    ensure!(broken == ["I15"], "what is parked waits, and nothing else is wrong: {broken:?}");
    Ok(())
}
