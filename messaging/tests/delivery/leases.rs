//! Several relays on one PostgreSQL outbox: one publishes, the others notify it and take over from it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use messaging::{
    broker::{Outcome, Publisher},
    envelope::Envelope,
};
use sea_orm::ConnectionTrait as _;
use tokio::time::Instant;
use world::{PATIENCE, eventually};

use crate::{
    between::OnPublish,
    fact::Effects,
    place::Place,
    running::{LEASE_TERM, Running},
};

type Log = Arc<Mutex<Vec<usize>>>;

/// Notes who published.
#[derive(Debug, Clone)]
struct Noted {
    who: usize,
    log: Log,
}

#[async_trait]
impl OnPublish for Noted {
    async fn publish(&self, window: &[Envelope], broker: &mut dyn Publisher) -> Vec<Outcome> {
        self.log.lock().expect("no test panics while it holds this").push(self.who);
        broker.publish(window).await
    }
}

#[tokio::test]
async fn one_of_several_relays_publishes_and_another_takes_over() -> Result<()> {
    let place = Place::postgres().await?;
    let consumer = Running::default().consumer(&place, Effects::always());
    let log = Log::default();
    let mut relays = Vec::new();
    let mut neighbours = Vec::new();
    for who in 0..4 {
        let neighbour = place.neighbour().await?;
        let noted = Noted { who, log: Arc::clone(&log) };
        relays.push(Some(Running::default().relay_through(&neighbour, noted)));
        neighbours.push(neighbour);
    }
    let mut written = 0;
    let mut leaders = Vec::new();
    let mut takeovers = Vec::new();
    for _ in 0..3 {
        for neighbour in &neighbours {
            neighbour.write(written..written + 200).await?;
            written += 200;
        }
        place.has_effects(usize::try_from(written)?).await?;
        place.is_drained().await?;
        let mut published = std::mem::take(&mut *log.lock().expect("no test panics while it holds this"));
        published.dedup();
        ensure!(published.len() == 1, "{published:?} have published");
        let leader = published[0];
        ensure!(!leaders.contains(&leader), "{leader} is dead");
        leaders.push(leader);
        // As a crash: it gives nothing back.
        relays[leader] = None;
        let died = Instant::now();
        place.write(written..written + 10).await?;
        written += 10;
        place.has_effects(usize::try_from(written)?).await?;
        let took = died.elapsed();
        ensure!(took < 2 * LEASE_TERM, "nobody took over for {took:?}");
        takeovers.push(took);
        log.lock().expect("no test panics while it holds this").dedup();
    }
    // As soon as the term is over, but for what the machine does in one of them.
    let best = takeovers.iter().min().is_some_and(|took| *took < LEASE_TERM + Duration::from_secs(1));
    ensure!(best, "nobody took over for {takeovers:?}");
    place.each_once(0..written).await?;
    consumer.stop().await
}

#[tokio::test]
async fn a_relay_that_stops_gives_the_lease_back() -> Result<()> {
    let place = Place::embedded().await?;
    Running::all(&place).stop().await?;
    let other = place.neighbour().await?;
    let running = Running::all(&other);
    place.write(0..10).await?;
    other.outbox.wake();
    place.has_effects(10).await?;
    running.stop().await
}

/// Written by one who stands by: the holder of the lease is notified at once, not by its slow poll of two seconds.
#[tokio::test]
async fn the_holder_of_the_lease_is_notified_by_other_processes() -> Result<()> {
    let place = Place::postgres().await?;
    let holder = Running::all(&place);
    place.write(0..1).await?;
    place.has_effects(1).await?;
    let neighbour = place.neighbour().await?;
    let stands_by = Running::default().relay(&neighbour);
    let mut times = Vec::new();
    for number in 1..11 {
        let began = Instant::now();
        neighbour.write(number..number + 1).await?;
        place.has_effects(usize::try_from(number + 1)?).await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    // A machine may stand still during two of them.
    ensure!(times[7] < Duration::from_secs(1), "ten messages one after the other took {times:?}");
    stands_by.stop().await?;
    holder.stop().await
}

/// A relay whose lease somebody else has does not publish another message.
#[tokio::test]
async fn a_relay_that_has_lost_its_lease_is_silent() -> Result<()> {
    let place = Place::postgres().await?;
    let running = Running::all(&place);
    place.write(0..10).await?;
    place.has_effects(10).await?;
    let thief = "UPDATE leases SET holder = 'thief', token = token + 1, expire_time = expire_time + 3000000";
    place.database.read().execute_unprepared(thief).await?;
    eventually("the relay to notice", PATIENCE, async || {
        // It asks for its renewal every quarter of the term, and is silent from then on.
        tokio::time::sleep(LEASE_TERM / 2).await;
        anyhow::Ok(())
    })
    .await?;
    let lost = Instant::now();
    place.write(10..20).await?;
    place.has_effects(20).await?;
    ensure!(
        lost.elapsed() > LEASE_TERM / 2,
        "it published after {:?}, with the lease in other hands",
        lost.elapsed()
    );
    running.stop().await
}

/// With nothing to do, the relay asks the database less than once a second, its lease included.
#[tokio::test]
async fn an_idle_relay_hardly_asks() -> Result<()> {
    let place = Place::postgres().await?;
    let running = Running::default().consumer(&place, Effects::always()).relay_with_usual_lease(&place);
    place.write(0..10).await?;
    place.has_effects(10).await?;
    place.is_drained().await?;
    // A connection reports its last statements to the server's statistics after ten idle seconds at the latest.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let before = scans(&place).await?;
    // The length of the observation: there is no state to wait for.
    let seconds = 12;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let asked = scans(&place).await? - before;
    ensure!((4..i64::try_from(seconds)?).contains(&asked), "{asked} questions in {seconds} s");
    running.stop().await
}

/// How often the tables of the relay were looked at, by the server's own count.
async fn scans(place: &Place) -> Result<i64> {
    let sum = "SELECT SUM(seq_scan + COALESCE(idx_scan, 0))::bigint FROM pg_stat_user_tables
        WHERE relname IN ('outbox', 'leases')";
    place.one(sum).await
}
