//! What only RabbitMQ can be asked: foreign messages, foreign declarations, dead letters.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions, QueuePurgeOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use messaging::{
    broker::{Broker, BrokerError, Outcome, rabbit::RabbitBroker},
    envelope::Envelope,
    topology::Topology,
};
use tokio::time::timeout;
use world::{PATIENCE, RabbitMq, eventually};

use super::given::{KIND, confirmed, consumer, mesh, message, messages, receive, take};

/// A connection without our code.
pub(crate) async fn raw(server: &RabbitMq) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(&server.amqp_url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

pub(crate) fn broker(server: &RabbitMq, topology: &Topology) -> Result<RabbitBroker> {
    Ok(RabbitBroker::new(&server.amqp_url(), topology.clone())?)
}

pub(crate) async fn a_foreign_message_arrives_with_its_body_and_headers() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = mesh("foreign", 1);
    let broker = broker(&server, &topology)?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    let (_connection, channel) = raw(&server).await?;
    let mut headers = FieldTable::default();
    headers.insert("cloudEvents:specversion".into(), AMQPValue::LongString("1.0".into()));
    headers.insert("cloudEvents:id".into(), AMQPValue::LongString("seventeen".into()));
    headers.insert("cloudEvents:type".into(), AMQPValue::LongString(KIND.into()));
    let ours = || BasicProperties::default().with_content_type("application/protobuf".into());
    let foreign = [
        (BasicProperties::default(), "content type"),
        (ours(), "specversion is missing"),
        (ours().with_headers(headers.clone()), "id is no UUID"),
        (
            BasicProperties::default().with_content_type("text/plain".into()).with_headers(headers),
            "text/plain",
        ),
    ];
    for (properties, reason) in foreign {
        let routing_key = topology.routing_key(KIND, "alice");
        let published = channel.basic_publish(
            "foreign".into(),
            routing_key.as_str().into(),
            BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
            b"not ours",
            properties,
        );
        ensure!(published.await?.await? == Confirmation::Ack(None));
        let mut received = receive(&mut *inflow, 1).await?;
        let delivery = received.pop().context("nothing received")?;
        let undecodable = delivery.message.err().context("it was taken for one of ours")?;
        assert!(undecodable.reason.contains(reason), "{}", undecodable.reason);
        assert_eq!(undecodable.payload, "not ours");
        assert!(undecodable.headers.contains(&format!("\"routing_key\":\"{routing_key}\"")));
        assert_eq!(undecodable.headers.contains("seventeen"), undecodable.headers.contains("cloudEvents"));
        inflow.ack_through(delivery.tag).await?;
    }
    Ok(())
}

/// It informs, and decides nothing: a message is never parked for it.
pub(crate) async fn a_subject_that_nobody_can_store_is_left_out() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = mesh("subjects", 1);
    let broker = broker(&server, &topology)?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    let (_connection, channel) = raw(&server).await?;
    let text = |text: &str| AMQPValue::LongString(text.into());
    let long = "s".repeat(256);
    for (subject, claims, read) in [
        (text("alice"), text("{\"jti\":\"t-1\",\"more\":1}"), (Some("alice"), Some("t-1"))),
        (text("alice"), text("{\"jti\":7}"), (Some("alice"), None)),
        (text("alice"), text("jti"), (Some("alice"), None)),
        (text("alice"), text(&format!("{{\"jti\":\"{long}\"}}")), (Some("alice"), None)),
        (text(""), text("{\"jti\":\"t-1\"}"), (None, None)),
        (text("a\0b"), text("{}"), (None, None)),
        (text(&long), text("{}"), (None, None)),
        (AMQPValue::LongInt(7), text("{\"jti\":\"t-1\"}"), (None, None)),
    ] {
        let mut headers = FieldTable::default();
        for (name, value) in [
            ("specversion", text("1.0")),
            ("id", text("0197b0c4-0000-7000-8000-000000000000")),
            ("type", text(KIND)),
            ("source", text("/test")),
            ("time", text("2026-01-31T12:00:00Z")),
            ("partitionkey", text("alice")),
            ("authtype", text("app_user")),
            ("authid", subject.clone()),
            ("authclaims", claims),
        ] {
            headers.insert(format!("cloudEvents:{name}").into(), value);
        }
        let properties =
            BasicProperties::default().with_content_type("application/protobuf".into()).with_headers(headers);
        let (exchange, route) = (topology.exchange.as_str(), topology.routing_key(KIND, "alice"));
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let published =
            channel.basic_publish(exchange.into(), route.as_str().into(), options, b"", properties);
        ensure!(published.await?.await? == Confirmation::Ack(None));
        let delivery = receive(&mut *inflow, 1).await?.pop().context("nothing received")?;
        let message = delivery.message.map_err(|undecodable| anyhow::anyhow!("{undecodable:?}"))?;
        ensure!(
            (message.subject.as_deref(), message.token_id.as_deref()) == read,
            "{subject:?}: {message:?}"
        );
        inflow.ack_through(delivery.tag).await?;
    }
    Ok(())
}

/// It travels as JSON, whatever characters the issuer takes for it.
pub(crate) async fn whoever_has_caused_a_message_arrives_as_written() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = mesh("principals", 1);
    let broker = broker(&server, &topology)?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    let mut publisher = broker.publisher().await?;
    let of = |number: u32, token_id: &str| message(number).on_behalf_of(Some("alice \"\\{"), Some(token_id));
    let awkward = ["t-1", "\"", "a\\\"}", "\u{1}\n\t", "é\u{1f511}", "{\"jti\":1}", "%7B"];
    let written: Vec<Envelope> = (0..).zip(awkward).map(|(number, token_id)| of(number, token_id)).collect();
    confirmed(&publisher.publish(&written).await)?;
    assert_eq!(take(&mut *inflow, written.len()).await?, written);
    Ok(())
}

pub(crate) async fn an_impossible_message_is_refused_alone() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let broker = broker(&server, &mesh("impossible", 1))?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    let mut publisher = broker.publisher().await?;
    let window = [
        message(0),
        Envelope { kind: "k".repeat(256), ..message(1) },
        Envelope { kind: "k".repeat(254), ..message(2) },
        Envelope { key: "k".repeat(1 << 20), ..message(3) },
        Envelope { payload: vec![0; 16 * 1024 * 1024 + 1].into(), ..message(4) },
        Envelope { key: "k".repeat(100_000), ..message(5) },
        message(6),
    ];
    let outcomes = publisher.publish(&window).await;
    let refused: Vec<bool> = outcomes.iter().map(|it| matches!(it, Outcome::Refused(_))).collect();
    assert_eq!(refused, [false, true, true, true, true, false, false], "{outcomes:?}");
    confirmed(&[outcomes[0].clone(), outcomes[5].clone(), outcomes[6].clone()])?;
    assert_eq!(take(&mut *inflow, 3).await?, [window[0].clone(), window[5].clone(), window[6].clone()]);
    Ok(())
}

/// A channel of RabbitMQ that was opened while nobody led a queue goes on to refuse what comes for it after the election.
pub(crate) async fn a_channel_that_refuses_is_left() -> Result<()> {
    let server = RabbitMq::start().await?;
    let topology = mesh("refusing", 1);
    let broker = broker(&server, &topology)?;
    let mut publisher = broker.publisher().await?;
    let (_connection, channel) = raw(&server).await?;
    let mut full = FieldTable::default();
    full.insert("x-max-length".into(), AMQPValue::LongInt(1));
    full.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    channel.queue_declare("full".into(), QueueDeclareOptions::default(), full).await?;
    let (key, bind) = (topology.routing_key(KIND, "alice"), QueueBindOptions::default());
    channel
        .queue_bind("full".into(), "refusing".into(), key.as_str().into(), bind, FieldTable::default())
        .await?;
    confirmed(&publisher.publish(&[message(0)]).await)?;

    let channels = async || server.control(&["-q", "list_channels", "pid"]).await;
    let begun = channels().await?;
    ensure!(matches!(publisher.publish(&[message(1)]).await[..], [Outcome::Refused(_)]), "it is full");
    ensure!(channels().await? == begun, "a channel is left before there is anything to publish");
    ensure!(matches!(publisher.publish(&[message(2)]).await[..], [Outcome::Refused(_)]), "it is full");
    let other = channels().await?;
    ensure!(other != begun && other.lines().count() == begun.lines().count(), "{begun} and {other}");
    channel.queue_purge("full".into(), QueuePurgeOptions::default()).await?;
    confirmed(&publisher.publish(&[message(3)]).await)
}

pub(crate) async fn another_declaration_is_refused_with_the_reason() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = mesh("inequivalent", 1);
    let (_connection, channel) = raw(&server).await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let queue = topology.queue("reader", 0);
    channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await?;
    match broker(&server, &topology)?.subscribe(&consumer("reader"), 0, 10).await {
        Err(BrokerError::Refused(source)) => {
            let reason = source.to_string();
            assert!(reason.contains("PRECONDITION_FAILED") && reason.contains("inequivalent"), "{reason}");
            Ok(())
        }
        other => bail!("not refused: {:?}", other.err()),
    }
}

pub(crate) async fn a_deleted_queue_ends_its_inflow() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = mesh("deleted", 1);
    let mut inflow = broker(&server, &topology)?.subscribe(&consumer("reader"), 0, 10).await?;
    let (_connection, channel) = raw(&server).await?;
    let queue = topology.queue("reader", 0);
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    for _ in 0..2 {
        let ended = timeout(PATIENCE, inflow.receive(1)).await?;
        assert!(matches!(ended, Err(BrokerError::Connection(_))), "{ended:?}");
    }
    Ok(())
}

pub(crate) async fn what_is_never_acknowledged_becomes_a_dead_letter() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = mesh("letters", 1);
    let broker = broker(&server, &topology)?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    confirmed(&broker.publisher().await?.publish(&[message(0)]).await)?;
    for _ in 0..21 {
        assert_eq!(receive(&mut *inflow, 1).await?.len(), 1);
        drop(inflow);
        inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    }
    let (_connection, channel) = raw(&server).await?;
    let dead = topology.dead_letter_queue();
    let letter = eventually("the dead letter", PATIENCE, async || {
        let letter = channel.basic_get(dead.as_str().into(), BasicGetOptions::default()).await?;
        letter.context("the queue is empty")
    });
    assert_eq!(letter.await?.data, message(0).payload);
    Ok(())
}

pub(crate) async fn a_url_is_checked_and_its_password_kept_back() -> Result<()> {
    for url in ["", "localhost", "http://localhost", "amqp://host:70000"] {
        assert!(RabbitBroker::new(url, mesh("mesh", 1)).is_err(), "{url}");
    }
    let broker = RabbitBroker::new("amqp://user:secret@[::1]:1/vhost", mesh("mesh", 1))?;
    let shown = format!("{broker:?}");
    assert!(shown.contains("::1") && !shown.contains("secret"), "{shown}");
    Ok(())
}

/// Whatever came back, nothing behind it has arrived.
pub(crate) async fn a_queue_bound_in_the_middle_of_a_window_keeps_the_order() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = mesh("first", 1);
    let broker = broker(&server, &topology)?;
    let (_connection, channel) = raw(&server).await?;
    let queue = topology.queue("reader", 0);
    drop(broker.subscribe(&consumer("reader"), 0, 1).await?);
    let name = |text: &str| ShortString::from(text);
    let (queue, exchange) = (name(&queue), name(&topology.exchange));
    let route = name(&topology.routing_key(KIND, "alice"));
    let window = messages(2_000);
    for round in 0..16 {
        // A publisher that knows nothing, and a queue that nothing leads to.
        let mut publisher = broker.publisher().await?;
        channel.queue_unbind(queue.clone(), exchange.clone(), route.clone(), FieldTable::default()).await?;
        let later = async {
            // Anywhere between the first and the last message of the window.
            tokio::time::sleep(Duration::from_millis(4 * round)).await;
            let options = QueueBindOptions::default();
            channel
                .queue_bind(queue.clone(), exchange.clone(), route.clone(), options, FieldTable::default())
                .await
        };
        let (outcomes, bound) = tokio::join!(publisher.publish(&window), later);
        bound?;
        let arrived = outcomes.iter().filter(|outcome| **outcome == Outcome::Confirmed).count();
        let back = outcomes.iter().filter(|outcome| **outcome == Outcome::Unroutable).count();
        ensure!([arrived, back].contains(&window.len()), "{back} came back, and {arrived} overtook them");
    }
    Ok(())
}
