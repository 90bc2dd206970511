//! Messages of every size that is allowed, and none above.

use anyhow::{Result, ensure};
use messaging::outbox::MAX_PAYLOAD;

use crate::{
    fact::{fact, padded},
    place::Place,
    running::Running,
};

/// Many times what a window and a transaction may hold: both are cut, nothing is lost.
async fn large_messages_arrive(place: Place) -> Result<()> {
    for number in 0..60 {
        place.write_messages(vec![padded(number, MAX_PAYLOAD - 100)]).await?;
    }
    let running = Running::all(&place);
    place.has_effects(60).await?;
    place.is_drained().await?;
    place.each_once(0..60).await?;
    place.in_order().await?;
    running.stop().await
}

#[tokio::test]
async fn large_messages_arrive_embedded() -> Result<()> {
    large_messages_arrive(Place::embedded().await?).await
}

#[tokio::test]
async fn large_messages_arrive_on_servers() -> Result<()> {
    large_messages_arrive(Place::real().await?).await
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_to_its_writer() -> Result<()> {
    let place = Place::embedded().await?;
    let refused = place.write_messages(vec![fact(0), padded(1, MAX_PAYLOAD + 1)]).await;
    ensure!(refused.is_err(), "it was taken");
    place.is_drained().await
}
