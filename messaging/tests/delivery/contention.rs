//! What others hold is waited for: that is reported, and no fault of a message.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use messaging::{
    consumer::{Consumer, Deduplication},
    health::{Condition, Health},
};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use world::{PATIENCE, eventually};

use crate::{
    fact::{Effects, reader},
    place::Place,
    running::Running,
};

async fn becomes_so(health: &Health, is: impl Fn(&Condition) -> bool) -> Result<()> {
    eventually("another state of the consumer", 3 * PATIENCE, async || {
        let parts = health.parts();
        let (_, state) = parts.iter().find(|(name, _)| name == "consumer.0").context("no consumer")?;
        ensure!(is(state), "{state:?}");
        Ok(())
    })
    .await
}

async fn a_lock_from_outside(place: &Place, lock: &str) -> Result<()> {
    let (health, mut tasks) = (Health::new(), JoinSet::new());
    let (database, broker) = (place.database.clone(), Arc::clone(&place.broker));
    let consumer = Consumer::new(database, broker, 1, reader(), Deduplication::Inbox, Effects::always())
        .with_health(&health);
    place.write(0..300).await?;
    let outside = sea_orm::Database::connect(place.connection_url()).await?;
    let holder = outside.begin().await?;
    holder.execute_unprepared(lock).await?;
    tasks.spawn(consumer.run(CancellationToken::new()));
    becomes_so(&health, |state| *state == Condition::Ok).await?;
    let running = Running::default().relay(place);
    becomes_so(&health, |state| matches!(state, Condition::Degraded { .. })).await?;
    holder.rollback().await?;
    place.has_effects(300).await?;
    becomes_so(&health, |state| *state == Condition::Ok).await?;
    place.each_once(0..300).await?;
    place.has_parked(0).await?;
    running.stop().await
}

#[tokio::test]
async fn a_lock_from_outside_is_reported_and_parks_nothing() -> Result<()> {
    a_lock_from_outside(&Place::postgres().await?, "LOCK TABLE effects IN ACCESS EXCLUSIVE MODE").await
}
