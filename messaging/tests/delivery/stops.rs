//! An orderly stop in the middle of the work: what was confirmed is not published again.

use anyhow::{Result, ensure};
use tokio::time::timeout;
use world::{PATIENCE, eventually};

use crate::{
    fact::reader,
    place::{Place, topology},
    running::Running,
};

const FACTS: i64 = 30_000;
/// Stops under load.
const STOPS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_stops_under_load_has_published_nothing_twice() -> Result<()> {
    let place = Place::real().await?;
    place.write(0..FACTS).await?;
    let left = async || place.one::<i64>("SELECT COUNT(*) FROM outbox").await;
    let mut before = left().await?;
    for stop in 0..STOPS {
        let relay = Running::default().relay_with_usual_lease(&place);
        // Not at the same place of a window each time.
        let progress = i64::try_from(stop * 137)?;
        let after = eventually("rows to leave", PATIENCE, async || {
            let left = left().await?;
            ensure!(left < before - progress, "{left}");
            Ok(left)
        })
        .await?;
        relay.stop().await?;
        before = left().await?.min(after);
    }
    ensure!(before > 0, "everything was published before the last stop");
    let last = Running::default().relay_with_usual_lease(&place);
    place.is_drained().await?;
    last.stop().await?;
    // Whatever was published twice is in the queue twice.
    ensure!(topology().partitions == 1);
    let mut inflow = place.broker.subscribe(&reader(), 0, 1_000).await?;
    let mut received: i64 = 0;
    while received < FACTS {
        let batch = timeout(PATIENCE, inflow.receive(1_000)).await??;
        let Some(last) = batch.last().map(|delivery| delivery.tag) else { continue };
        received += i64::try_from(batch.len())?;
        inflow.ack_through(last).await?;
    }
    let more = timeout(std::time::Duration::from_secs(1), inflow.receive(1_000)).await;
    let more = more.map_or(0, |batch| batch.map_or(0, |batch| batch.len()));
    ensure!(received == FACTS && more == 0, "{received} and {more} of {FACTS} were published");
    Ok(())
}
