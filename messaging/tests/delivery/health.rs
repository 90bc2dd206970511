//! What never cures itself is distinguished from an outage, in the broker's own words, and passes when somebody has acted.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use lapin::{
    Connection, ConnectionProperties,
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use messaging::{
    broker::{Broker, rabbit::RabbitBroker},
    consumer::{Consumer, Deduplication},
    health::{Cause, Condition, Health},
    relay::Relay,
};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use world::{PATIENCE, Port, RabbitMq, eventually};

use crate::{
    fact::{Effects, reader},
    place::{Place, topology},
    running::Running,
};

/// A relay and a consumer on a broker, and what they say of themselves.
struct Parts {
    health: Health,
    _tasks: JoinSet<()>,
}

impl Parts {
    fn start(place: &Place, url: &str) -> Result<Self> {
        let (health, mut tasks) = (Health::new(), JoinSet::new());
        let broker: Arc<dyn Broker> = Arc::new(RabbitBroker::new(url, topology())?);
        let relay = Relay::new(place.database.clone(), place.outbox.clone(), Arc::clone(&broker), "/tests");
        let inbox = Deduplication::Inbox;
        let consumer = Consumer::new(place.database.clone(), broker, 1, reader(), inbox, Effects::always());
        tasks.spawn(relay.with_health(&health).run(CancellationToken::new()));
        tasks.spawn(consumer.with_health(&health).run(CancellationToken::new()));
        Ok(Self { health, _tasks: tasks })
    }

    /// Waits until a part has a state like that.
    async fn become_so(&self, part: &str, is: impl Fn(&Condition) -> bool) -> Result<Condition> {
        become_so(&self.health, part, is).await
    }

    async fn fails(&self, part: &str, words: &str) -> Result<()> {
        let failed =
            |state: &Condition| matches!(state, Condition::Failed { reason, .. } if reason.contains(words));
        self.become_so(part, failed).await.map(drop)
    }

    async fn works(&self, part: &str) -> Result<()> {
        self.become_so(part, |state| *state == Condition::Ok).await.map(drop)
    }
}

async fn become_so(health: &Health, part: &str, is: impl Fn(&Condition) -> bool) -> Result<Condition> {
    eventually(&format!("another state of {part}"), PATIENCE, async || {
        let parts = health.parts();
        let (_, state) = parts.iter().find(|(name, _)| name == part).context("no such part")?;
        ensure!(is(state), "{state:?}");
        Ok(state.clone())
    })
    .await
}

#[tokio::test]
async fn what_never_cures_itself_is_named_and_passes_when_somebody_has_acted() -> Result<()> {
    let (place, server) = (Place::embedded().await?, RabbitMq::start().await?);
    let url = server.amqp_url();

    let parts = Parts::start(&place, &url.replace("guest:guest", "guest:wrong"))?;
    for part in ["relay", "consumer.0"] {
        parts.fails(part, "ACCESS_REFUSED").await?;
        parts.fails(part, "check user and password").await?;
    }

    let parts = Parts::start(&place, &url.replace("/%2f", "/missing"))?;
    parts.fails("relay", "NOT_ALLOWED").await?;
    server.control(&["add_vhost", "missing"]).await?;
    parts.fails("consumer.0", "NOT_ALLOWED").await?;
    server.control(&["set_permissions", "-p", "missing", "guest", "", "", ""]).await?;
    parts.fails("consumer.0", "grant the user configure").await?;
    server.control(&["set_permissions", "-p", "missing", "guest", ".*", ".*", ".*"]).await?;
    parts.works("relay").await?;
    parts.works("consumer.0").await?;

    let raw = Connection::connect(&url, ConnectionProperties::default()).await?.create_channel().await?;
    let queue = topology().queue("reader", 0);
    raw.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default()).await?;
    let parts = Parts::start(&place, &url)?;
    parts.fails("consumer.0", "PRECONDITION_FAILED").await?;
    raw.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
    parts.works("consumer.0").await
}

#[tokio::test]
async fn a_broker_that_is_away_is_no_failure() -> Result<()> {
    let (place, port) = (Place::embedded().await?, Port::reserve()?);
    let parts = Parts::start(&place, &format!("amqp://{}", port.address()))?;
    for part in ["relay", "consumer.0"] {
        let away = |state: &Condition| matches!(state, Condition::Degraded { reason, .. } if reason.contains("refused"));
        parts.become_so(part, away).await?;
    }
    Ok(())
}

/// Nothing begins before they were read, and the broker is not why.
#[tokio::test]
async fn pauses_that_cannot_be_read_are_named() -> Result<()> {
    let place = Place::postgres().await?;
    let holder = sea_orm::Database::connect(place.connection_url()).await?.begin().await?;
    holder.execute_unprepared("LOCK TABLE pauses IN ACCESS EXCLUSIVE MODE").await?;
    let running = Running::default().with_pauses(&place).relay(&place).consumer(&place, Effects::always());
    let named = |state: &Condition| {
        matches!(state, Condition::Degraded { cause: Cause::Database, reason, .. }
            if reason.contains("the pauses cannot be read"))
    };
    for part in ["relay", "consumer.0"] {
        become_so(&running.health, part, named).await?;
    }
    holder.rollback().await?;
    for part in ["relay", "consumer.0"] {
        become_so(&running.health, part, |state| *state == Condition::Ok).await?;
    }
    running.stop().await
}
