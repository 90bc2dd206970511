//! What an operator's graphs are made of: after orders have run, every metric is there and tells what has happened.

use anyhow::{Context as _, Result, ensure};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions},
    types::{AMQPValue, FieldTable},
};
use messaging::topology::Topology;
use sea_orm::{ConnectionTrait as _, Database, TransactionTrait as _};
use world::{PATIENCE, RabbitMq, eventually};

use crate::{
    mesh::{APART, Arrangement, Mesh},
    scrape::Scrape,
};

const ORDERS: u32 = 20;
const PLACED: &str = "ordermesh.orders.v1.OrderPlaced";

#[tokio::test]
async fn every_metric_of_the_messages_tells_what_happened() -> Result<()> {
    let mesh = Mesh::start(Arrangement { own_broker: true, ..APART }).await?;
    nothing_happened_yet(&mesh).await?;
    mesh.account("alice", 1_000).await?;
    let mut ids = Vec::new();
    for _ in 0..ORDERS {
        ids.push(mesh.order("alice", 1).await?);
    }
    for id in &ids {
        mesh.ended(id).await?;
    }
    mesh.at_rest().await?;
    orders_are_told(&mesh).await?;
    reconnects_and_redeliveries_are_told(&mesh).await?;
    a_message_without_a_queue_is_told(&mesh).await?;
    parked_and_held_messages_are_told(&mesh).await
}

async fn scrape(mesh: &Mesh, service: &str) -> Result<Scrape> {
    Scrape::of(mesh.admin(service)?).await
}

fn topology() -> Topology {
    Topology::new(ordermesh::EVENTS_EXCHANGE, 1, [])
}

fn rabbitmq(mesh: &Mesh) -> Result<&RabbitMq> {
    mesh.rabbitmq.as_ref().context("a mesh on RabbitMQ")
}

async fn channel(rabbitmq: &RabbitMq) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(&rabbitmq.amqp_url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// Counters are there at zero: an alarm cannot tell one that is absent from one that does not rise.
async fn nothing_happened_yet(mesh: &Mesh) -> Result<()> {
    for consumer in ["orders", "payments"] {
        eventually("the consumer's first numbers", PATIENCE, async || {
            let scrape = scrape(mesh, consumer).await?;
            for counter in ["redeliveries_total", "parked_total", "held_total", "parked_repeats_total"] {
                let name = format!("messaging_{counter}");
                ensure!(scrape.number(&name, &[("consumer", consumer)])? == 0.0, "{name} of {consumer}");
            }
            let timeouts = [("db_system_name", "postgresql")];
            ensure!(scrape.number("db_client_connection_timeouts_total", &timeouts)? == 0.0, "{consumer}");
            let failures = [timeouts[0], ("error_type", "full")];
            ensure!(scrape.number("db_client_operation_failures_total", &failures)? == 0.0, "{consumer}");
            for state in ["parked", "held", "redriven", "waiting"] {
                let labels = [("consumer", consumer), ("state", state)];
                ensure!(scrape.number("messaging_parked_messages", &labels)? == 0.0, "{state} at {consumer}");
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn orders_are_told(mesh: &Mesh) -> Result<()> {
    let orders = f64::from(ORDERS);
    for service in ["orders", "payments"] {
        let source = format!("/ordermesh/{service}");
        let (of_source, of_consumer) = ([("source", source.as_str())], [("consumer", service)]);
        // Gauges are set every two seconds.
        eventually("an empty outbox to be told", PATIENCE, async || {
            let scrape = scrape(mesh, service).await?;
            for state in ["pending", "unroutable"] {
                let labels = [of_source[0], ("state", state)];
                ensure!(scrape.number("messaging_outbox_messages", &labels)? == 0.0, "{state} at {service}");
                ensure!(scrape.number("messaging_outbox_oldest_age_seconds", &labels)? == 0.0, "{state} age");
            }
            Ok(())
        })
        .await?;
        // Each process looks at all queues, every second.
        eventually("the queues to be told", PATIENCE, async || {
            let scrape = scrape(mesh, service).await?;
            for consumer in ["orders", "payments"] {
                let queue = topology().queue(consumer, 0);
                let number = |name| scrape.number(name, &[("queue", queue.as_str())]);
                let (waiting, subscribed) =
                    (number("messaging_queue_messages")?, number("messaging_queue_consumers")?);
                ensure!((waiting, subscribed) == (0.0, 1.0), "{waiting} and {subscribed} at {queue}");
            }
            Ok(())
        })
        .await?;
        let scrape = scrape(mesh, service).await?;
        let (confirmed, seconds) = scrape.histogram("messaging_commit_to_confirm_seconds", &of_source)?;
        ensure!(
            confirmed == orders && within_a_run(seconds / orders),
            "{confirmed} confirmed in {seconds} s"
        );
        let (applied, seconds) = scrape.histogram("messaging_commit_to_effect_seconds", &of_consumer)?;
        ensure!(applied == orders && within_a_run(seconds / orders), "{applied} applied in {seconds} s");
        let (windows, published) = scrape.histogram("messaging_window_messages", &of_source)?;
        // What was published before the first queue was bound counts each time.
        ensure!(
            published >= orders && (1.0..=published).contains(&windows),
            "{published} in {windows} windows"
        );
        let (batches, received) = scrape.histogram("messaging_batch_messages", &of_consumer)?;
        ensure!(received == orders && (1.0..=orders).contains(&batches), "{received} in {batches} batches");
        for (part, of) in [("relay", source.as_str()), ("consumer", service)] {
            let connections = scrape.number("messaging_connections_total", &[("part", part), ("of", of)])?;
            ensure!(connections == 1.0, "{connections} connections of the {part} {of}");
        }
        for (name, of_type) in [
            ("messaging_outbox_messages", "gauge"),
            ("messaging_commit_to_effect_seconds", "histogram"),
            ("messaging_redeliveries_total", "counter"),
            ("messaging_parked_messages", "gauge"),
        ] {
            scrape.describes(name, of_type)?;
        }
    }
    Ok(())
}

/// Longer than nothing, and no longer than a test lasts.
fn within_a_run(seconds: f64) -> bool {
    seconds > 0.0 && seconds < 60.0
}

/// A batch that cannot commit is on its way while every connection is closed: it comes again.
async fn reconnects_and_redeliveries_are_told(mesh: &Mesh) -> Result<()> {
    let elsewhere = Database::connect(mesh.database_url("payments")).await?;
    let lock = elsewhere.begin().await?;
    lock.execute_unprepared("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE").await?;
    let id = mesh.order("alice", 1).await?;
    eventually("the batch to wait for the lock", PATIENCE, async || {
        let sql = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = 'inbox'::regclass";
        let waiting = mesh.count("payments", sql).await?;
        ensure!(waiting > 0, "nobody waits");
        anyhow::Ok(())
    })
    .await?;
    rabbitmq(mesh)?.control(&["close_all_connections", "for a test"]).await?;
    lock.rollback().await?;
    elsewhere.close().await?;
    mesh.ended(&id).await?;
    eventually("the reconnects and the redelivery to be told", PATIENCE, async || {
        let scrape = scrape(mesh, "payments").await?;
        for (part, of) in [("relay", "/ordermesh/payments"), ("consumer", "payments")] {
            let connections = scrape.number("messaging_connections_total", &[("part", part), ("of", of)])?;
            ensure!(connections >= 2.0, "{connections} connections of the {part}");
        }
        let again = scrape.number("messaging_redeliveries_total", &[("consumer", "payments")])?;
        ensure!(again >= 1.0, "{again} redeliveries");
        Ok(())
    })
    .await?;
    mesh.at_rest().await
}

/// A message that no queue is bound for waits in a state of its own, with its age.
async fn a_message_without_a_queue_is_told(mesh: &Mesh) -> Result<()> {
    let (_connection, channel) = channel(rabbitmq(mesh)?).await?;
    let (queue, key) = (topology().queue("payments", 0), format!("{PLACED}.0"));
    let exchange = topology().exchange;
    let name = |text: &str| lapin::types::ShortString::from(text);
    channel.queue_unbind(name(&queue), name(&exchange), name(&key), FieldTable::default()).await?;
    let mut ids = vec![mesh.order("alice", 1).await?];
    // Again and again: the services bind it again.
    let unroutable = [("source", "/ordermesh/orders"), ("state", "unroutable")];
    eventually("the unroutable message to be told", PATIENCE, async || {
        channel.queue_unbind(name(&queue), name(&exchange), name(&key), FieldTable::default()).await?;
        // A message that came while the queue was bound has arrived: then another one has to wait.
        let last = mesh.api.get(&format!("/gateway/orders/{}", ids[ids.len() - 1])).await?;
        if last.body["status"] != "NEW" {
            ids.push(mesh.order("alice", 1).await?);
        }
        let scrape = scrape(mesh, "orders").await?;
        let depth = scrape.number("messaging_outbox_messages", &unroutable)?;
        let age = scrape.number("messaging_outbox_oldest_age_seconds", &unroutable)?;
        let order = scrape.number("orders_oldest_new_age_seconds", &[])?;
        ensure!(depth == 1.0 && within_a_run(age), "{depth} of age {age}");
        ensure!(within_a_run(order), "the oldest order waits for {order} s");
        Ok(())
    })
    .await?;
    let options = QueueBindOptions::default();
    channel.queue_bind(name(&queue), name(&exchange), name(&key), options, FieldTable::default()).await?;
    for id in &ids {
        mesh.ended(id).await?;
    }
    eventually("no order that waits", PATIENCE, async || {
        let order = scrape(mesh, "orders").await?.number("orders_oldest_new_age_seconds", &[])?;
        ensure!(order == 0.0, "{order}");
        Ok(())
    })
    .await
}

/// What nobody can read is parked, and what this version does not know is held.
async fn parked_and_held_messages_are_told(mesh: &Mesh) -> Result<()> {
    let (_connection, channel) = channel(rabbitmq(mesh)?).await?;
    let mut headers = FieldTable::default();
    for (header, value) in [
        ("specversion", "1.0"),
        ("id", "0190163d-8694-739b-aea5-966c26f8ad90"),
        ("source", "/tomorrow"),
        ("type", "ordermesh.orders.v2.OrderPlaced"),
        ("time", "2024-06-14T12:00:00Z"),
        ("partitionkey", "alice"),
    ] {
        headers.insert(format!("cloudEvents:{header}").into(), AMQPValue::LongString(value.into()));
    }
    let of_tomorrow =
        BasicProperties::default().with_content_type("application/protobuf".into()).with_headers(headers);
    for properties in [BasicProperties::default(), of_tomorrow] {
        let sent = channel.basic_publish(
            topology().exchange.as_str().into(),
            format!("{PLACED}.0").as_str().into(),
            BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
            b"whatever",
            properties,
        );
        ensure!(sent.await?.await? == Confirmation::Ack(None));
    }
    // The table is looked at every five seconds.
    eventually("the parked messages to be told", PATIENCE, async || {
        let scrape = scrape(mesh, "payments").await?;
        for (state, total) in [("parked", "messaging_parked_total"), ("held", "messaging_held_total")] {
            let labels = [("consumer", "payments"), ("state", state)];
            let (now, ever) =
                (scrape.number("messaging_parked_messages", &labels)?, scrape.number(total, &labels[..1])?);
            ensure!(now == 1.0 && ever >= 1.0, "{now} are {state}, {ever} ever were");
        }
        Ok(())
    })
    .await
}
