//! What the broker gives up, or a policy of its operator removes, is parked with its story and comes back when an operator sends it.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use lapin::{
    Connection, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use messaging::{
    broker::{Broker, rabbit::RabbitBroker},
    consumer::{Consumer, Deduplication},
    health::{Condition, Health},
    outbox,
    parked::{self, Action, Filter, Mode},
    relay::Relay,
    topology::Topology,
};
use prost::Message as _;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use world::{PATIENCE, RabbitMq, eventually};

use crate::{
    fact::{Effects, Fact, Idempotent, reader},
    place::{Place, topology},
    running::Running,
};

/// Deliveries without an acknowledgement, after which the broker gives a message up.
const TOO_OFTEN: usize = 21;

/// A relay that publishes to the reader, who need not run; what it says of itself; and the broker's operator.
struct Site {
    place: Place,
    health: Health,
    _relay: JoinSet<()>,
}

impl Site {
    async fn start() -> Result<Self> {
        let mut place = Place::real_without_queues().await?;
        let with_reader = Topology { consumers: vec![reader()], ..topology() };
        let broker: Arc<dyn Broker> =
            Arc::new(RabbitBroker::new(&place.rabbitmq()?.amqp_url(), with_reader)?);
        place.broker = Arc::clone(&broker);
        let (health, mut relay) = (Health::new(), JoinSet::new());
        let publishing = Relay::new(place.database.clone(), place.outbox.clone(), broker, "/tests");
        relay.spawn(publishing.with_health(&health).run(CancellationToken::new()));
        Ok(Self { place, health, _relay: relay })
    }

    fn rabbitmq(&self) -> Result<&RabbitMq> {
        self.place.rabbitmq.as_ref().context("a place with RabbitMQ")
    }

    /// Leaves the user with the permissions that docs/DELIVERY.md asks for.
    async fn restrict(&self) -> Result<()> {
        let ours = format!("^{}(\\..*)?$", topology().exchange);
        self.rabbitmq()?.control(&["set_permissions", "guest", &ours, &ours, &ours]).await.map(drop)
    }

    async fn policy(&self, definition: &str) -> Result<()> {
        let set = ["set_policy", "losing", ".*", definition, "--apply-to", "queues"];
        self.rabbitmq()?.control(&set).await.map(drop)
    }

    /// Receives so many messages again and again, and dies each time.
    async fn die_with(&self, messages: usize) -> Result<()> {
        for death in 0..TOO_OFTEN {
            let mut inflow = self.place.broker.subscribe(&reader(), 0, 100).await?;
            let mut received = 0;
            while received < messages {
                let batch = timeout(PATIENCE, inflow.receive(100)).await;
                received += batch.with_context(|| format!("{received} before death {death}"))??.len();
            }
        }
        Ok(())
    }

    /// Waits until so many dead letters can be seen by who watches the process.
    async fn shows(&self, letters: u64) -> Result<()> {
        eventually(&format!("{letters} dead letters"), PATIENCE, async || {
            let (shown, parts) = (self.health.dead_letters(), self.health.parts());
            ensure!(shown == letters, "{shown}");
            let topology = parts.iter().find(|(name, _)| name == "topology");
            let degraded = matches!(topology, Some((_, Condition::Degraded { .. })));
            ensure!(degraded == (letters > 0), "{topology:?}");
            Ok(())
        })
        .await
    }

    /// Waits until so many messages are parked, for this reason each, and sends them back.
    async fn come_back(&self, letters: usize, reason: &str) -> Result<()> {
        for letter in self.place.has_parked(letters).await? {
            ensure!(
                letter.error.starts_with("dead letter: ") && letter.error.contains(reason),
                "{}",
                letter.error
            );
            ensure!(letter.error.contains("queue tests.reader.0"), "{}", letter.error);
            ensure!(letter.error.contains("routing key tests.v1.Fact.0"), "{}", letter.error);
            ensure!(letter.kind == "tests.v1.Fact" && letter.message_id.is_some(), "{letter:?}");
        }
        let database = &self.place.database;
        let sent =
            parked::operate(database, Action::Redrive, &Filter::default(), "test", Mode::Apply).await?;
        ensure!(sent.messages == letters as u64, "{sent:?} were sent back");
        Ok(())
    }
}

#[tokio::test]
async fn what_kills_its_consumer_is_parked_and_redriven() -> Result<()> {
    let site = Site::start().await?;
    site.restrict().await?;
    site.place.write(0..5).await?;
    site.place.is_drained().await?;
    site.die_with(5).await?;
    site.shows(5).await?;

    let consumer = Running::default().consumer(&site.place, Effects::always());
    site.place.write(5..10).await?;
    site.place.has_effects(5).await?;
    site.come_back(5, "reason delivery_limit").await?;
    site.place.has_effects(10).await?;
    site.place.each_once(0..10).await?;
    site.shows(0).await?;
    ensure!(site.place.parked().await?.is_empty(), "all came back");
    consumer.stop().await
}

/// It was applied, and the acknowledgement did not arrive, ever: it is not parked, for its effect is there.
#[tokio::test]
async fn a_dead_letter_that_had_its_effect_is_not_parked() -> Result<()> {
    let site = Site::start().await?;
    site.place.write(0..5).await?;
    site.place.is_drained().await?;
    site.die_with(5).await?;
    site.shows(5).await?;
    // What the killed consumer had committed.
    let remembered = "INSERT INTO inbox (message_id, consumer, receive_time) VALUES ";
    let mut inflow = site.place.broker.dead_letters("reader").await?.context("RabbitMQ has dead letters")?;
    let mut ids = Vec::new();
    while ids.len() < 3 {
        let letters = timeout(PATIENCE, inflow.receive(3 - ids.len())).await??;
        ids.extend(letters.into_iter().filter_map(|letter| letter.message.ok()).map(|message| message.id));
    }
    drop(inflow);
    let rows: Vec<String> = ids.iter().map(|id| format!("('{id}', 'reader', 0)")).collect();
    let remember = Arc::new(format!("{remembered}{}", rows.join(", ")));
    let remembering = site.place.database.transact(move |transaction| {
        let remember = Arc::clone(&remember);
        Box::pin(async move {
            sea_orm::ConnectionTrait::execute_unprepared(transaction, &remember).await.map(drop)
        })
    });
    remembering.await?;

    let consumer = Running::default().consumer(&site.place, Effects::always());
    site.come_back(2, "reason delivery_limit").await?;
    site.place.has_effects(2).await?;
    site.shows(0).await?;
    ensure!(site.place.effects().await?.len() == 2 && site.place.parked().await?.is_empty());
    consumer.stop().await
}

/// Its sender may have repeated it meanwhile.
#[tokio::test]
async fn a_dead_letter_that_was_applied_without_an_inbox_is_not_parked() -> Result<()> {
    let site = Site::start().await?;
    site.place.write(0..5).await?;
    site.place.is_drained().await?;
    site.die_with(5).await?;
    site.shows(5).await?;
    let (database, broker) = (site.place.database.clone(), Arc::clone(&site.place.broker));
    let consumer = Consumer::new(database, broker, 1, reader(), Deduplication::Handler, Idempotent);
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(consumer.run(stop.clone()));
    site.shows(0).await?;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    let mut numbers = Vec::new();
    for row in site.place.has_parked(2).await? {
        numbers.push(Fact::decode(row.payload.as_slice())?.number);
    }
    ensure!(numbers == [1, 3], "{numbers:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_policy_removes_is_parked_and_redriven() -> Result<()> {
    for (policy, lost, reason) in [
        (r#"{"message-ttl":300}"#, 12, "message-ttl"),
        (r#"{"max-length":3,"overflow":"drop-head"}"#, 9, "drop-head"),
    ] {
        let site = Site::start().await?;
        site.place.write(0..1).await?;
        site.place.is_drained().await?;
        let first = Running::default().consumer(&site.place, Effects::always());
        site.place.has_effects(1).await?;
        first.stop().await?;

        site.policy(policy).await?;
        site.place.write(1..13).await?;
        site.place.is_drained().await?;
        eventually("dead letters", PATIENCE, async || {
            ensure!(site.health.dead_letters() > 0, "none");
            Ok(())
        })
        .await?;
        let consumer = Running::default().consumer(&site.place, Effects::always());
        site.come_back(lost, reason).await?;
        site.place.has_effects(13).await?;
        site.place.each_once(0..13).await?;
        consumer.stop().await?;
    }
    Ok(())
}

/// A queue that nobody uses is deleted by such a policy, with all that it holds: that cannot be undone, and is not repeated in silence.
#[tokio::test]
async fn a_queue_that_a_policy_deletes_is_back_within_seconds() -> Result<()> {
    let site = Site::start().await?;
    site.place.write(0..12).await?;
    site.place.is_drained().await?;
    site.policy(r#"{"expires":1000}"#).await?;
    let connection =
        Connection::connect(&site.rabbitmq()?.amqp_url(), ConnectionProperties::default()).await?;
    eventually("an empty queue of the same name", PATIENCE, async || {
        let channel = connection.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("tests.reader.0".into(), passive, FieldTable::default()).await?;
        ensure!(queue.message_count() == 0, "{} messages", queue.message_count());
        Ok(())
    })
    .await?;
    site.rabbitmq()?.control(&["clear_policy", "losing"]).await?;
    eventually("a topology in order", PATIENCE, async || {
        let parts = site.health.parts();
        ensure!(parts.contains(&("topology".to_owned(), Condition::Ok)), "{parts:?}");
        Ok(())
    })
    .await?;
    site.place.write(12..20).await?;
    let consumer = Running::default().consumer(&site.place, Effects::always());
    site.place.has_effects(8).await?;
    site.place.each_once(12..20).await?;
    consumer.stop().await
}

/// The broker confirms what a stranger's queue takes; so what is missing has to be back before much is published.
#[tokio::test]
async fn a_queue_deleted_beside_a_stranger_is_back_within_seconds() -> Result<()> {
    let site = Site::start().await?;
    site.place.write(0..1).await?;
    site.place.is_drained().await?;
    let url = site.rabbitmq()?.amqp_url();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("stranger".into(), own, FieldTable::default()).await?;
    let all = channel.queue_bind(
        "stranger".into(),
        "tests".into(),
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    all.await?;
    channel.queue_delete("tests.reader.0".into(), QueueDeleteOptions::default()).await?;
    eventually("the queue", Duration::from_secs(10), async || {
        let probe = connection.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        probe.queue_declare("tests.reader.0".into(), passive, FieldTable::default()).await?;
        anyhow::Ok(())
    })
    .await?;
    // Without its exchange nothing is confirmed, so that nothing can be lost.
    channel.exchange_delete("tests".into(), ExchangeDeleteOptions::default()).await?;
    site.place.write(1..50).await?;
    site.place.is_drained().await?;
    let consumer = Running::default().consumer(&site.place, Effects::always());
    site.place.has_effects(49).await?;
    site.place.each_once(1..50).await?;
    ensure!(outbox::backlog(site.place.database.read()).await?.is_empty());
    consumer.stop().await
}
