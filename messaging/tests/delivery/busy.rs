//! A relay that always has more to publish sees the end of a pause all the same.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use messaging::{
    broker::{Outcome, Publisher, memory::MemoryBroker},
    envelope::Envelope,
    outbox::Outbox,
    parked::Park,
    pauses::Pause,
    topology::Topology,
};
use storage::Database;
use world::eventually;

use crate::{
    between::OnPublish,
    fact::{Effects, KEYS, fact, key, reader},
    pauses::{SEEN, becomes, begin, consumer, end, is_paused},
    place::{Place, topology},
    running::Running,
};

/// More than what is left to the next look at the outbox when the relay has published it.
const MORE: i64 = 150;

/// Writes more with each window, as long as it is on.
#[derive(Debug, Clone)]
struct Busy {
    database: Database,
    outbox: Outbox,
    /// Of one key.
    next: Arc<AtomicI64>,
    on: Arc<AtomicBool>,
}

impl Busy {
    fn more(&self) -> Vec<Envelope> {
        (0..MORE).map(|_| fact(self.next.fetch_add(KEYS, Ordering::Relaxed))).collect()
    }
}

#[async_trait]
impl OnPublish for Busy {
    async fn publish(&self, window: &[Envelope], broker: &mut dyn Publisher) -> Vec<Outcome> {
        if self.on.load(Ordering::Relaxed) {
            let (outbox, messages) = (self.outbox.clone(), Arc::new(self.more()));
            let written = self.database.transact(move |transaction| {
                let (outbox, messages) = (outbox.clone(), Arc::clone(&messages));
                Box::pin(async move { outbox.write(transaction, &messages).await })
            });
            written.await.expect("the database takes more");
        }
        broker.publish(window).await
    }
}

#[tokio::test]
async fn a_relay_that_never_rests_sees_the_end_of_a_pause() -> Result<()> {
    let topology = Topology { consumers: vec![reader()], partitions: 2, ..topology() };
    let of = |partition: u16| (0..KEYS).find(|number| topology.partition(&key(*number)) == partition);
    let (held, free) = (of(0).context("a key")?, of(1).context("a key of the other partition")?);
    let first = Place::embedded().await?;
    let place = Place::join(&first.url, Arc::new(MemoryBroker::new(topology.clone()))).await?;
    let busy = Busy {
        database: place.database.clone(),
        outbox: place.outbox.clone(),
        next: Arc::new(AtomicI64::new(free)),
        on: Arc::new(AtomicBool::new(false)),
    };
    let running = Running::default().with_pauses(&place);
    let running = running.consumer_as(reader(), &place, Effects::always(), Park::Message, 2);
    let running = running.relay_through(&place, busy.clone());
    let pause = begin(&place, Pause { partition: Some(0), ..consumer() }).await?;
    becomes(&running.health, "consumer.0", is_paused).await?;

    busy.on.store(true, Ordering::Relaxed);
    place.write_messages(busy.more()).await?;
    place.has_effects(1_000).await?;
    let facts: Vec<i64> = (0..10).map(|at| held + at * KEYS).collect();
    place.write_messages(facts.iter().map(|number| fact(*number)).collect()).await?;
    eventually("the messages to be given back", 5 * SEEN, async || {
        let given_back = place.one::<i64>("SELECT COUNT(*) FROM outbox WHERE next_attempt_time > 0").await?;
        ensure!(given_back > 0, "none are");
        anyhow::Ok(())
    })
    .await?;
    end(&place, pause).await?;
    // Far less than the minute after which they are tried again anyhow.
    let left = format!("SELECT COUNT(*) FROM effects WHERE number % {KEYS} = {held}");
    eventually("what was given back to leave", 5 * SEEN, async || {
        let left = place.one::<i64>(&left).await?;
        ensure!(left == 10, "{left} have left");
        anyhow::Ok(())
    })
    .await?;
    busy.on.store(false, Ordering::Relaxed);
    place.is_drained().await?;
    let effects = place.effects().await?;
    ensure!(effects.iter().filter(|number| *number % KEYS == held).eq(&facts), "out of order");
    place.in_order().await?;
    running.stop().await
}
