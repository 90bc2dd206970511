//! What has to be on RabbitMQ is there before anything is published, and comes back when somebody deletes it.

use anyhow::{Context as _, Result, bail, ensure};
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{FieldTable, ShortString},
};
use messaging::{
    broker::{Broker, BrokerError, Outcome, rabbit::RabbitBroker},
    envelope::Envelope,
    topology::Topology,
};
use world::{PATIENCE, RabbitMq, eventually};

use super::given::{KIND, confirmed, consumer, envelopes, message, messages, receive, take};

/// A topology in which the consumer `reader` must exist.
fn with_reader(exchange: &str, partitions: u16) -> Topology {
    Topology::new(exchange, partitions, [consumer("reader")])
}

fn broker(server: &RabbitMq, topology: &Topology) -> Result<RabbitBroker> {
    Ok(RabbitBroker::new(&server.amqp_url(), topology.clone())?)
}

/// A connection without our code.
async fn raw(server: &RabbitMq) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(&server.amqp_url(), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// A queue that takes a copy of everything, so that the broker confirms whatever is published.
async fn listen_to_all(channel: &Channel, exchange: &str) -> Result<()> {
    let queue = format!("stranger of {exchange}");
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await?;
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.into(), exchange.into(), "#".into(), options, FieldTable::default()).await?;
    Ok(())
}

pub(crate) async fn what_is_published_before_its_consumer_ever_came_waits_for_it() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = with_reader("early", 2);
    let broker = broker(&server, &topology)?;
    drop(broker.publisher().await?);
    let (_connection, channel) = raw(&server).await?;
    listen_to_all(&channel, "early").await?;
    let sent: Vec<Envelope> = messages(40)
        .into_iter()
        .enumerate()
        .map(|(i, it)| Envelope { key: format!("user-{i}"), ..it })
        .collect();
    confirmed(&broker.publisher().await?.publish(&sent).await)?;
    for partition in 0..2 {
        let share: Vec<Envelope> =
            sent.iter().filter(|it| topology.partition(&it.key) == partition).cloned().collect();
        let mut inflow = broker.subscribe(&consumer("reader"), partition, 100).await?;
        ensure!(
            take(&mut *inflow, share.len()).await? == share,
            "something is missing in partition {partition}"
        );
    }
    Ok(())
}

pub(crate) async fn whatever_is_deleted_is_found_and_declared_again() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = with_reader("gone", 2);
    let broker = broker(&server, &topology)?;
    let mut publisher = broker.publisher().await?;
    let mut upkeep = broker.upkeep().await?.context("RabbitMQ has a topology to keep")?;
    let found = upkeep.look().await?;
    ensure!(found.restored.is_empty(), "{found:?}");
    let (_connection, channel) = raw(&server).await?;
    listen_to_all(&channel, "gone").await?;

    let queue = topology.queue("reader", 1);
    for queue in [&queue, &topology.dead_letter_queue(), &topology.dead_letter_queue_of("reader")] {
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
        let restored = upkeep.look().await?.restored;
        ensure!(restored == [format!("queue {queue}")], "{restored:?}");
    }
    for exchange in [&topology.exchange, &topology.dead_letter_exchange()] {
        channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await?;
        let restored = upkeep.look().await?.restored;
        ensure!(restored == [format!("exchange {exchange}")], "{restored:?}");
    }
    // Bindings are back as well: also those that were taken off alone.
    let route = topology.routing_key(KIND, &key_of(&topology, 1)?);
    let name = |text: &str| ShortString::from(text);
    channel.queue_unbind(name(&queue), name("gone"), name(&route), FieldTable::default()).await?;
    for _ in 0..10 {
        upkeep.look().await?;
    }
    let sent = [Envelope { key: key_of(&topology, 1)?, ..message(1) }];
    confirmed(&publisher.publish(&sent).await)?;
    let mut inflow = broker.subscribe(&consumer("reader"), 1, 10).await?;
    ensure!(take(&mut *inflow, 1).await? == sent);
    Ok(())
}

pub(crate) async fn a_strangers_queue_keeps_nobody_from_the_others() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = Topology::new("taken", 1, [consumer("another"), consumer("reader")]);
    let broker = broker(&server, &topology)?;
    let (_connection, channel) = raw(&server).await?;
    let queue = topology.queue("another", 0);
    let declare = async |channel: &Channel, name: &str, passive: bool| {
        let options = QueueDeclareOptions { durable: true, passive, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.into(), options, FieldTable::default()).await
    };
    declare(&channel, &queue, false).await?;
    let mut upkeep = broker.upkeep().await?.context("RabbitMQ has a topology to keep")?;
    for _ in 0..2 {
        let refused = upkeep.look().await?.refused.context("it was declared in another way")?;
        ensure!(refused.contains("PRECONDITION_FAILED") && refused.contains(&queue), "{refused}");
        declare(&channel, &topology.queue("reader", 0), true).await?;
        channel.queue_delete(topology.queue("reader", 0).into(), QueueDeleteOptions::default()).await?;
    }
    upkeep.look().await?;
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    let found = upkeep.look().await?;
    ensure!(found.refused.is_none(), "{found:?}");
    Ok(())
}

/// Not even to look at it is allowed.
pub(crate) async fn an_exclusive_queue_of_a_stranger_keeps_nobody_from_the_others() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let topology = Topology::new("locked", 1, [consumer("another"), consumer("reader")]);
    let (connection, channel) = raw(&server).await?;
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(topology.queue("another", 0).into(), exclusive, FieldTable::default()).await?;
    let mut upkeep =
        broker(&server, &topology)?.upkeep().await?.context("RabbitMQ has a topology to keep")?;
    for _ in 0..2 {
        let found = upkeep.look().await?;
        let refused = found.refused.context("it is a stranger's")?;
        ensure!(refused.contains("RESOURCE_LOCKED"), "{refused}");
        let missing = format!("queue {}", topology.queue("reader", 0));
        ensure!(found.restored.contains(&missing), "{:?}", found.restored);
        channel.queue_delete(topology.queue("reader", 0).into(), QueueDeleteOptions::default()).await?;
    }
    // With its connection it is gone.
    connection.close(200, "gone".into()).await?;
    upkeep.look().await?;
    let found = upkeep.look().await?;
    ensure!(found.refused.is_none(), "{found:?}");
    Ok(())
}

fn key_of(topology: &Topology, partition: u16) -> Result<String> {
    let mut keys = (0..100).map(|number| format!("user-{number}"));
    keys.find(|key| topology.partition(key) == partition).context("a key of each partition")
}

pub(crate) async fn fewer_partitions_are_refused_until_the_queues_beyond_are_empty() -> Result<()> {
    let server = RabbitMq::shared().await?;
    let (before, after) = (with_reader("fewer", 3), with_reader("fewer", 1));
    let earlier = broker(&server, &before)?;
    let sent = [Envelope { key: key_of(&before, 2)?, ..message(1) }];
    confirmed(&earlier.publisher().await?.publish(&sent).await)?;

    let later = broker(&server, &after)?;
    let refusals = [later.publisher().await.err(), later.subscribe(&consumer("reader"), 0, 1).await.err()];
    for refusal in refusals {
        let Some(BrokerError::Refused(reason)) = refusal else { bail!("not refused: {refusal:?}") };
        let reason = reason.to_string();
        ensure!(reason.contains("fewer.reader.2") && reason.contains("at least 3 partitions"), "{reason}");
    }
    // Nor while it is at somebody who has not acknowledged it, whichever queues were deleted.
    let (_connection, channel) = raw(&server).await?;
    channel.queue_delete("fewer.reader.1".into(), QueueDeleteOptions::default()).await?;
    let mut inflow = earlier.subscribe(&consumer("reader"), 2, 1).await?;
    let received = receive(&mut *inflow, 1).await?;
    let Some(BrokerError::Refused(reason)) = later.publisher().await.err() else { bail!("not refused") };
    ensure!(reason.to_string().contains("fewer.reader.2, which has 1 consumers"), "{reason}");
    inflow.ack_through(received[0].tag).await?;
    ensure!(envelopes(received)? == sent);
    drop(inflow);
    eventually("that the queue is given up", PATIENCE, async || {
        later.publisher().await?;
        later.subscribe(&consumer("reader"), 0, 1).await.map(drop)
    })
    .await
}

/// Also that the publisher goes on: it needs no other connection for that.
pub(crate) async fn a_message_for_which_the_broker_closes_the_channel_is_refused_alone() -> Result<()> {
    let server = RabbitMq::start().await?;
    // Version 4 has read the setting when it started.
    let limit = "application:set_env(rabbit, max_message_size, 100000), persistent_term:put(max_message_size, 100000).";
    server.control(&["eval", limit]).await?;
    server.control(&["set_topic_permissions", "guest", "closing", "^test\\.v1\\.Happened", ".*"]).await?;
    let broker = broker(&server, &with_reader("closing", 1))?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 500).await?;
    let mut publisher = broker.publisher().await?;
    confirmed(&publisher.publish(&messages(10)).await)?;
    take(&mut *inflow, 10).await?;

    let mut window: Vec<Envelope> = (100..400).map(message).collect();
    window[57].payload = vec![0; 100_001].into();
    for at in [3, 120, 121, 299] {
        window[at].kind = "test.v1.Forbidden".into();
    }
    let outcomes = publisher.publish(&window).await;
    for (at, outcome) in outcomes.iter().enumerate() {
        let words = match at {
            57 => "PRECONDITION_FAILED",
            3 | 120 | 121 | 299 => "ACCESS_REFUSED",
            _ => {
                ensure!(*outcome == Outcome::Confirmed, "{at}: {outcome:?}");
                continue;
            }
        };
        ensure!(matches!(outcome, Outcome::Refused(reason) if reason.contains(words)), "{at}: {outcome:?}");
    }
    confirmed(&publisher.publish(&messages(10)).await)
}

/// What an operator has declared, by a process that may, or by a file of definitions, is used as it is.
pub(crate) async fn a_declared_topology_needs_no_permission_to_declare() -> Result<()> {
    let server = RabbitMq::start().await?;
    let topology = with_reader("declared", 2);
    drop(broker(&server, &topology)?.publisher().await?);
    server.control(&["add_user", "sparse", "secret"]).await?;
    let ours = "^declared(\\..*)?$";
    server.control(&["set_permissions", "sparse", "", ours, ours]).await?;
    let url = server.amqp_url().replace("guest:guest", "sparse:secret");
    let sparse = RabbitBroker::new(&url, topology.clone())?;

    let (_connection, channel) = raw(&server).await?;
    let name = |text: &str| ShortString::from(text);
    let (queue, key) = (topology.queue("reader", 1), key_of(&topology, 1)?);
    let route = topology.routing_key(KIND, &key);
    channel.queue_unbind(name(&queue), name("declared"), name(&route), FieldTable::default()).await?;
    // To bind a queue takes the permission to write to it, and that is there.
    let mut publisher = sparse.publisher().await?;
    let sent = [Envelope { key, ..message(1) }];
    confirmed(&publisher.publish(&sent).await)?;
    let mut inflow = sparse.subscribe(&consumer("reader"), 1, 10).await?;
    ensure!(take(&mut *inflow, 1).await? == sent);
    drop(sparse.dead_letters("reader").await?);

    let mut upkeep = sparse.upkeep().await?.context("RabbitMQ has a topology to keep")?;
    for _ in 0..2 {
        let found = upkeep.look().await?;
        ensure!(found.refused.is_none() && found.restored.is_empty(), "{found:?}");
    }
    channel.queue_delete(topology.queue("reader", 0).into(), QueueDeleteOptions::default()).await?;
    let refused = upkeep.look().await?.refused.context("it may not declare it")?;
    ensure!(refused.contains("ACCESS_REFUSED") && refused.contains("declared.reader.0"), "{refused}");
    drop(broker(&server, &topology)?.publisher().await?);
    for _ in 0..11 {
        upkeep.look().await?;
    }
    let found = upkeep.look().await?;
    ensure!(found.refused.is_none() && found.restored.is_empty(), "{found:?}");
    Ok(())
}

/// Of what a user may declare the arguments are compared, whatever else it may not declare.
pub(crate) async fn what_is_denied_lets_nothing_else_pass() -> Result<()> {
    let server = RabbitMq::start().await?;
    let topology = with_reader("partly", 2);
    drop(broker(&server, &topology)?.publisher().await?);
    server.control(&["add_user", "partial", "secret"]).await?;
    let (queues, ours) = ("^partly\\.reader\\..*$", "^partly(\\..*)?$");
    server.control(&["set_permissions", "partial", queues, ours, ours]).await?;
    let url = server.amqp_url().replace("guest:guest", "partial:secret");
    let partial = RabbitBroker::new(&url, topology.clone())?;
    drop(partial.publisher().await?);

    let (_connection, channel) = raw(&server).await?;
    let queue = topology.queue("reader", 1);
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await?;
    let refusals =
        [partial.publisher().await.err(), partial.subscribe(&consumer("reader"), 1, 1).await.err()];
    for refusal in refusals {
        let Some(BrokerError::Refused(reason)) = refusal else { bail!("not refused: {refusal:?}") };
        let reason = reason.to_string();
        ensure!(reason.contains("PRECONDITION_FAILED") && reason.contains(&queue), "{reason}");
    }
    let mut upkeep = partial.upkeep().await?.context("RabbitMQ has a topology to keep")?;
    let refused = upkeep.look().await?.refused.context("it was declared in another way")?;
    ensure!(refused.contains("PRECONDITION_FAILED") && refused.contains(&queue), "{refused}");
    Ok(())
}
