//! The inbox forgets what is old, in small batches, while others write.

use std::time::Duration;

use anyhow::{Result, ensure};
use messaging::retention::Retention;

use crate::{fact::Effects, place::Place, running::Running};

async fn remembered(place: &Place) -> Result<i64> {
    place.one("SELECT COUNT(*) FROM inbox").await
}

async fn only_what_is_old_is_forgotten(place: Place) -> Result<()> {
    let running = Running::default().consumer(&place, Effects::always()).relay(&place);
    place.write(0..1_200).await?;
    place.has_effects(1_200).await?;
    let kept = Retention::new(place.database.clone());
    ensure!(kept.round().await? == 0 && remembered(&place).await? == 1_200, "nothing is seven days old");
    let short = Retention::new(place.database.clone()).with_keep(Duration::ZERO);
    ensure!(short.round().await? == 1_200 && remembered(&place).await? == 0);
    place.write(1_200..1_210).await?;
    place.has_effects(1_210).await?;
    place.each_once(0..1_210).await?;
    running.stop().await
}

#[tokio::test]
async fn only_what_is_old_is_forgotten_embedded() -> Result<()> {
    only_what_is_old_is_forgotten(Place::embedded().await?).await
}

#[tokio::test]
async fn only_what_is_old_is_forgotten_on_postgres() -> Result<()> {
    only_what_is_old_is_forgotten(Place::postgres().await?).await
}
