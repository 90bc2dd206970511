//! Transactions that commit late, and consumers' batches.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use messaging::{
    broker::{Outcome, Publisher},
    envelope::Envelope,
    outbox,
};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use storage::{Database, Limits};
use tokio::sync::Notify;
use uuid::Uuid;
use world::{PATIENCE, RabbitMq, eventually};

use crate::{
    between::OnPublish,
    fact::{Effects, fact},
    place::Place,
    running::Running,
};

/// The transaction that took its numbers first commits last: whoever reads by offset has passed them by then.
#[tokio::test]
async fn a_late_commit_is_delivered() -> Result<()> {
    let place = Place::real().await?;
    let running = Running::all(&place);
    // The rest of the test has to fit into the attempt.
    let limits = Limits { statement_timeout: 3 * PATIENCE, ..Limits::default() };
    let elsewhere = Database::connect(&place.connection_url().parse()?, limits).await?;
    let (outbox, written, enough) = (place.outbox.clone(), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (signal, wait) = (Arc::clone(&written), Arc::clone(&enough));
    let late = tokio::spawn(async move {
        let late = elsewhere.transact(move |transaction| {
            let (outbox, signal, wait) = (outbox.clone(), Arc::clone(&signal), Arc::clone(&wait));
            Box::pin(async move {
                outbox.write(transaction, &[fact(0)]).await?;
                signal.notify_one();
                wait.notified().await;
                Ok(())
            })
        });
        late.await
    });
    written.notified().await;
    place.write(1..501).await?;
    place.has_effects(500).await?;
    place.is_drained().await?;

    enough.notify_one();
    late.await??;
    // Nobody is woken for it: the safety net finds it.
    eventually("the effect of the late commit", PATIENCE, async || place.each_once(0..501).await).await?;
    running.stop().await
}

/// What is written while nobody consumes arrives in batches, each effect once, and in the order of its key.
async fn a_backlog_arrives(place: Place) -> Result<()> {
    place.write(0..3_000).await?;
    let running = Running::all(&place);
    place.has_effects(3_000).await?;
    place.is_drained().await?;
    place.each_once(0..3_000).await?;
    place.in_order().await?;
    running.stop().await
}

#[tokio::test]
async fn a_backlog_arrives_embedded() -> Result<()> {
    a_backlog_arrives(Place::embedded().await?).await
}

#[tokio::test]
async fn a_backlog_arrives_on_servers() -> Result<()> {
    a_backlog_arrives(Place::real().await?).await
}

#[tokio::test]
async fn a_rolled_back_message_never_leaves() -> Result<()> {
    let place = Place::embedded().await?;
    let running = Running::all(&place);
    let outbox = place.outbox.clone();
    let failed = place.database.transact(move |transaction| {
        let outbox = outbox.clone();
        Box::pin(async move {
            outbox.write(transaction, &[fact(1)]).await?;
            Err::<(), _>(sea_orm::DbErr::Custom("changed its mind".to_owned()))
        })
    });
    ensure!(failed.await.is_err());
    place.write(2..4).await?;
    place.has_effects(2).await?;
    place.each_once(2..4).await?;
    running.stop().await
}

/// Without a queue a message waits, costs no attempt, and goes within two seconds once there is one.
#[tokio::test]
async fn an_unroutable_message_waits_for_its_queue() -> Result<()> {
    // A broker that others use writes the table of `remembers` late.
    let place = Place::real_on(RabbitMq::start().await?).await?;
    let relay = Running::default().relay(&place);
    place.write(0..600).await?;
    eventually("the first messages to come back", PATIENCE, async || {
        let rows = outbox::list(place.database.read()).await?;
        ensure!(rows.len() == 600 && rows.iter().all(|row| row.attempts == 0), "{:?}", rows.first());
        // What was written behind them waits for them.
        let back = rows.iter().filter(|row| row.state == outbox::State::Unroutable).count();
        ensure!(back >= 100, "{back} came back");
        Ok(())
    })
    .await?;

    let consumer = Running::default().consumer(&place, Effects::always());
    let queue = crate::place::topology().queue("reader", 0);
    let rabbitmq = place.rabbitmq.as_ref().ok_or_else(|| anyhow::anyhow!("a place with RabbitMQ"))?;
    rabbitmq.remembers(&queue).await?;
    let bound = tokio::time::Instant::now();
    place.has_effects(600).await?;
    let took = bound.elapsed();
    place.is_drained().await?;
    // As many again, for which there is a queue: what the machine takes for them.
    let written = tokio::time::Instant::now();
    place.write(600..1_200).await?;
    place.has_effects(1_200).await?;
    let alone = written.elapsed();
    let soon = std::time::Duration::from_secs(2) + alone;
    ensure!(took < soon, "it took {took:?} after the queue was there, and {alone:?} with it");
    place.is_drained().await?;
    place.each_once(0..1_200).await?;
    relay.stop().await?;
    consumer.stop().await
}

/// Refuses each message of one key so often.
#[derive(Debug, Clone)]
struct Refusing {
    times: Arc<Mutex<HashMap<Uuid, usize>>>,
    refusals: usize,
}

impl Refusing {
    fn of(refusals: usize) -> Self {
        Self { times: Arc::default(), refusals }
    }
}

#[async_trait]
impl OnPublish for Refusing {
    async fn publish(&self, window: &[Envelope], broker: &mut dyn Publisher) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for message in window {
            let times = {
                let mut times = self.times.lock().expect("no test panics while it holds this");
                let times = times.entry(message.id).or_default();
                *times += 1;
                *times
            };
            outcomes.push(if times <= self.refusals && message.key == "key-3" {
                Outcome::Refused("not yet".to_owned())
            } else {
                let mut outcomes = broker.publish(std::slice::from_ref(message)).await;
                outcomes.pop().unwrap_or(Outcome::Unroutable)
            });
        }
        outcomes
    }
}

/// Each waits for a time of its own, by chance.
async fn what_is_refused_together_leaves_in_its_order(place: Place) -> Result<()> {
    let running =
        Running::default().relay_through(&place, Refusing::of(3)).consumer(&place, Effects::always());
    place.write(0..100).await?;
    place.has_effects(100).await?;
    place.in_order().await?;
    place.is_drained().await?;
    running.stop().await
}

#[tokio::test]
async fn what_is_refused_together_leaves_in_its_order_embedded() -> Result<()> {
    what_is_refused_together_leaves_in_its_order(Place::embedded().await?).await
}

#[tokio::test]
async fn what_is_refused_together_leaves_in_its_order_on_postgres() -> Result<()> {
    what_is_refused_together_leaves_in_its_order(Place::postgres().await?).await
}

/// A refused row holds back later rows of its own key, and of no other.
#[tokio::test]
async fn the_order_of_a_key_outlives_a_refusal() -> Result<()> {
    let place = Place::real().await?;
    let running = Running::all(&place);
    place.write(0..10).await?;
    place.has_effects(10).await?;
    // A kind that no AMQP property can carry: the broker's client refuses it.
    let refused = fact(10);
    let (id, kind) = (refused.id, refused.kind.clone());
    place.write_messages(vec![Envelope { kind: "k".repeat(300), ..refused }]).await?;
    eventually("the refusal", PATIENCE, async || {
        let rows = outbox::list(place.database.read()).await?;
        ensure!(rows.first().is_some_and(|row| row.attempts > 0 && row.last_error.is_some()), "{rows:?}");
        Ok(())
    })
    .await?;
    place.write(11..111).await?;
    place.has_effects(100).await?;
    // The rows of the last window go a moment after their messages.
    eventually("nothing but what is held back", PATIENCE, async || {
        let held: Vec<_> = outbox::list(place.database.read()).await?;
        ensure!(held.len() == 11, "{} are there", held.len());
        ensure!(held.iter().all(|row| row.partition_key == "key-0"), "{held:?}");
        Ok(())
    })
    .await?;

    let cured = outbox::Entity::update_many()
        .col_expr(outbox::Column::Kind, kind.into())
        .filter(outbox::Column::MessageId.eq(id));
    let cured = std::sync::Arc::new(cured);
    let cure = place.database.transact(move |transaction| {
        let cured = std::sync::Arc::clone(&cured);
        Box::pin(async move { sea_orm::UpdateMany::clone(&cured).exec(transaction).await.map(drop) })
    });
    cure.await?;
    place.is_drained().await?;
    place.has_effects(111).await?;
    place.each_once(0..111).await?;
    place.in_order().await?;
    running.stop().await
}
