//! A relay that dies between the broker's confirm and its own note of it: the message goes out again, its effect does not.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use messaging::{
    broker::{Outcome, Publisher},
    envelope::Envelope,
    outbox,
};
use tokio::sync::Notify;
use world::{PATIENCE, eventually};

use crate::{between::OnPublish, fact::Effects, place::Place, running::Running};

/// A real broker whose publishers never come back from their first window, although the broker has taken it: for the relay's
/// rows this is the same as its death at that moment.
#[derive(Debug, Clone, Default)]
struct Deadly {
    taken: Arc<Notify>,
}

#[async_trait]
impl OnPublish for Deadly {
    async fn publish(&self, window: &[Envelope], broker: &mut dyn Publisher) -> Vec<Outcome> {
        let outcomes = broker.publish(window).await;
        if outcomes.iter().all(|outcome| *outcome == Outcome::Confirmed) {
            self.taken.notify_one();
            return std::future::pending().await;
        }
        // The consumer's queue is not there yet.
        outcomes
    }
}

async fn death_between_confirm_and_settlement(place: Place) -> Result<()> {
    let deadly = Deadly::default();
    let consumer = Running::default().consumer(&place, Effects::always());
    let doomed = Running::default().relay_through(&place, deadly.clone());
    place.write(0..100).await?;
    tokio::time::timeout(PATIENCE, deadly.taken.notified()).await?;
    drop(doomed);
    place.has_effects(100).await?;
    let backlog = outbox::backlog(place.database.read()).await?;
    assert!(backlog.pending + backlog.unroutable > 0, "its rows are still there: {backlog:?}");

    let heir = Running::default().relay(&place);
    place.is_drained().await?;
    // One more message, behind every second copy in the same queue: with its effect they have been judged.
    place.write(100..110).await?;
    eventually("the effects behind the second copies", PATIENCE, async || place.each_once(0..110).await)
        .await?;
    place.in_order().await?;
    heir.stop().await?;
    consumer.stop().await
}

#[tokio::test]
async fn death_between_confirm_and_settlement_embedded() -> Result<()> {
    death_between_confirm_and_settlement(Place::embedded().await?).await
}

#[tokio::test]
async fn death_between_confirm_and_settlement_on_servers() -> Result<()> {
    death_between_confirm_and_settlement(Place::real().await?).await
}
