//! Dead letters on their way to the consumers that they were meant for: none is lost on it, and none holds up the others.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldArray, FieldTable, ShortString},
};
use messaging::{
    broker::{Broker, Found, Upkeep, rabbit::RabbitBroker},
    topology::Topology,
};
use world::{PATIENCE, RabbitMq, eventually};

use super::given::consumer;

/// Looks from one attempt at what is stuck to the next, and a few more.
const LOOKS: usize = 12;
const LOOK: Duration = Duration::from_millis(200);
/// More than one look tries in vain.
const STUCK: u64 = 25;

struct Site {
    server: RabbitMq,
    broker: RabbitBroker,
    topology: Topology,
    _connection: Connection,
    channel: Channel,
}

impl Site {
    async fn start() -> Result<Self> {
        let server = RabbitMq::shared().await?;
        let topology = Topology::new("post", 1, [consumer("reader")]);
        let broker = RabbitBroker::new(&server.amqp_url(), topology.clone())?;
        let connection = Connection::connect(&server.amqp_url(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { server, broker, topology, _connection: connection, channel })
    }

    /// Gives a message up that was in this queue, as the broker does.
    async fn dies(&self, queue: &str) -> Result<()> {
        let mut death = FieldTable::default();
        for (name, value) in [("queue", queue), ("reason", "delivery_limit")] {
            death.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        let mut headers = FieldTable::default();
        let deaths = FieldArray::from(vec![AMQPValue::FieldTable(death)]);
        headers.insert("x-death".into(), AMQPValue::FieldArray(deaths));
        let properties = BasicProperties::default().with_headers(headers);
        let exchange = ShortString::from(self.topology.dead_letter_exchange());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent =
            self.channel.basic_publish(exchange, "any".into(), options, b"a letter", properties).await?;
        ensure!(sent.await? == Confirmation::Ack(None));
        Ok(())
    }

    async fn declare(&self, queue: &str, arguments: FieldTable) -> Result<()> {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, arguments).await?;
        Ok(())
    }

    /// How many messages are ready in a queue.
    async fn depth(&self, queue: &str) -> Result<u32> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let there = self.channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
        Ok(there.message_count())
    }

    /// Waits until so many messages are ready in a queue.
    async fn holds(&self, queue: &str, expected: u32) -> Result<()> {
        eventually(&format!("{expected} messages in {queue}"), PATIENCE, async || {
            let depth = self.depth(queue).await?;
            ensure!(depth == expected, "{depth}");
            anyhow::Ok(())
        })
        .await
    }

    /// The same while a relay looks again and again.
    async fn comes_to_hold(&self, queue: &str, expected: u32, upkeep: &mut Box<dyn Upkeep>) -> Result<()> {
        let mut depth = 0;
        for _ in 0..LOOKS {
            upkeep.look().await?;
            depth = self.depth(queue).await?;
            if depth == expected {
                return Ok(());
            }
            // What was sent may not have been received yet: a relay looks once a second.
            tokio::time::sleep(LOOK).await;
        }
        bail!("{depth} and not {expected} messages in {queue}")
    }
}

fn quorum(limit: Option<i32>) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    if let Some(limit) = limit {
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(limit));
    }
    arguments
}

/// Looks as a relay does, with another connection after an error, and returns what was found.
async fn look(site: &Site, upkeep: &mut Box<dyn Upkeep>, times: usize) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for _ in 0..times {
        match upkeep.look().await {
            Ok(found) => all.push(found),
            Err(_lost) => *upkeep = site.broker.upkeep().await?.context("RabbitMQ has a topology to keep")?,
        }
    }
    Ok(all)
}

pub(crate) async fn a_letter_that_cannot_be_moved_is_kept_and_holds_up_no_other() -> Result<()> {
    let site = Site::start().await?;
    // RabbitMQ 4 gives up after twenty returns what has no limit of its own: so does a policy, after two.
    let policy = ["set_policy", "limit", "^post\\.dead", r#"{"delivery-limit":2}"#, "--apply-to", "queues"];
    site.server.control(&policy).await?;
    // A stranger has taken the name of the queue that it belongs into.
    let taken = site.topology.dead_letter_queue_of("other");
    site.declare(&taken, FieldTable::default()).await?;
    let mut upkeep = site.broker.upkeep().await?.context("RabbitMQ has a topology to keep")?;
    look(&site, &mut upkeep, 1).await?;
    site.declare(&site.topology.dead_letter_queue(), quorum(Some(i32::MAX))).await?;
    for _ in 0..STUCK {
        site.dies("post.other.0").await?;
    }
    let (mut found, mut moved) = (Vec::new(), 0);
    // Whether a look tries what is stuck or does not.
    for _ in 0..LOOKS {
        site.dies("post.reader.0").await?;
        moved += 1;
        tokio::time::sleep(LOOK).await;
        found.extend(look(&site, &mut upkeep, 1).await?);
    }
    found.extend(look(&site, &mut upkeep, LOOKS).await?);
    site.holds(&site.topology.dead_letter_queue_of("reader"), moved).await?;
    let named = |found: &Found| found.unmoved.as_ref().is_some_and(|reason| reason.contains(&taken));
    ensure!(found.iter().any(named), "{found:?}");
    let last = found.last().and_then(|found| found.dead_letters.get(&site.topology.dead_letter_queue()));
    ensure!(last == Some(&STUCK), "{last:?} letters wait");

    site.channel.queue_delete(taken.as_str().into(), QueueDeleteOptions::default()).await?;
    look(&site, &mut upkeep, 2 * LOOKS).await?;
    site.holds(&taken, u32::try_from(STUCK)?).await
}

pub(crate) async fn what_versions_before_left_is_moved() -> Result<()> {
    let site = Site::start().await?;
    let former = site.topology.former_dead_letter_queue();
    let exchange = ShortString::from(site.topology.dead_letter_exchange());
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let fanout = lapin::ExchangeKind::Fanout;
    site.channel.exchange_declare(exchange.clone(), fanout, options, FieldTable::default()).await?;
    site.declare(&former, quorum(None)).await?;
    let bound = QueueBindOptions::default();
    site.channel
        .queue_bind(former.as_str().into(), exchange, "".into(), bound, FieldTable::default())
        .await?;
    site.dies("post.reader.0").await?;
    site.holds(&former, 1).await?;

    let moved = &site.topology.dead_letter_queue_of("reader");
    let mut upkeep = site.broker.upkeep().await?.context("RabbitMQ has a topology to keep")?;
    site.comes_to_hold(moved, 1, &mut upkeep).await?;
    // Nothing comes there any more, so that nothing is moved twice.
    site.dies("post.reader.0").await?;
    site.comes_to_hold(moved, 2, &mut upkeep).await?;
    upkeep.look().await?;
    site.holds(moved, 2).await?;
    site.channel.queue_delete(former.as_str().into(), QueueDeleteOptions::default()).await?;
    let found = upkeep.look().await?;
    let Some(0) = found.dead_letters.get(&site.topology.dead_letter_queue()) else { bail!("{found:?}") };
    ensure!(found.restored.is_empty(), "{found:?}");
    Ok(())
}
