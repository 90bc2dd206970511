//! The outbox on PostgreSQL stays small however much goes through it.

use std::sync::Arc;

use anyhow::{Result, ensure};
use messaging::broker::Broker;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    fact::{padded, reader},
    place::{Place, topology},
    running::Running,
};

const MESSAGES: i64 = 2_000_000;
/// Written while the relay publishes what was written before.
const TRANSACTION: i64 = 500;
/// Bytes of a payload: that of an order.
const PAYLOAD: usize = 120;
/// Messages that wait at most: the writer is no faster than the relay in the long run.
const WAITING: i64 = 20_000;
/// The table with its indexes, in bytes: what waits, and what dies between two cleanings of the relay.
const BOUND: i64 = 64 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a release build"]
async fn the_outbox_does_not_bloat() -> Result<()> {
    let place = Place::real().await?;
    let running = Running::default().relay(&place);
    let mut readers = JoinSet::new();
    for partition in 0..topology().partitions {
        readers.spawn(forget(Arc::clone(&place.broker), partition));
    }
    let (began, mut largest) = (Instant::now(), 0);
    for (at, first) in (0..MESSAGES).step_by(usize::try_from(TRANSACTION)?).enumerate() {
        place
            .write_messages((first..first + TRANSACTION).map(|number| padded(number, PAYLOAD)).collect())
            .await?;
        if at % 20 == 0 {
            while place.one::<i64>("SELECT COUNT(*) FROM outbox").await? > WAITING {
                tokio::task::yield_now().await;
            }
            largest = largest.max(place.one("SELECT pg_total_relation_size('outbox')").await?);
        }
    }
    place.is_drained().await?;
    let vacuums: i64 =
        place.one("SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'outbox'").await?;
    eprintln!(
        "{MESSAGES} messages in {:.0} s: the outbox took {:.0} MiB at most, and was vacuumed {vacuums} times",
        began.elapsed().as_secs_f64(),
        largest as f64 / 1024.0 / 1024.0
    );
    ensure!(largest < BOUND, "the outbox bloats");
    running.stop().await
}

/// Takes what comes and does nothing with it.
async fn forget(broker: Arc<dyn Broker>, partition: u16) -> Result<()> {
    let mut inflow = broker.subscribe(&reader(), partition, 1_000).await?;
    loop {
        if let Some(last) = inflow.receive(500).await?.last() {
            inflow.ack_through(last.tag).await?;
        }
    }
}
