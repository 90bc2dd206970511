//! Redrives in the background: at their rate, stopped, finished by another one after a fix, and taken over from a process that is gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use messaging::{
    consumer::{Consumer, Deduplication},
    parked::{
        self, Filter, State,
        jobs::{self, Progress, Started, State as JobState},
    },
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use world::{PATIENCE, eventually};

use crate::{
    fact::{Answer, Effects, reader},
    place::{Place, topology},
    running::Running,
};

const FACTS: u64 = 700;
const RATE: i32 = 50;
/// Facts by which the rate is measured, so many times at most: what a machine that stands still loses in one is made up for in the next.
const WINDOW: u64 = 150;
const WINDOWS: usize = 3;

/// A consumer that refuses every third fact until it is repaired, and counts what it is given.
struct Reader {
    consumer: Consumer,
    repaired: Arc<AtomicBool>,
    given: Arc<AtomicU64>,
}

impl Reader {
    fn of(place: &Place) -> Self {
        let (repaired, given) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (seen, counted) = (Arc::clone(&repaired), Arc::clone(&given));
        let effects = Effects::unless(move |number| {
            counted.fetch_add(1, Ordering::Relaxed);
            if number % 3 == 0 && !seen.load(Ordering::Relaxed) { Answer::Refuse } else { Answer::Apply }
        });
        let (database, broker) = (place.database.clone(), Arc::clone(&place.broker));
        let consumer =
            Consumer::new(database, broker, topology().partitions, reader(), Deduplication::Inbox, effects);
        Self { consumer, repaired, given }
    }
}

/// Parks all facts.
pub(crate) async fn park(place: &Place, facts: u64) -> Result<()> {
    let refusing = Effects::unless(|_| Answer::Refuse);
    let running = Running::default().consumer(place, refusing).relay(place);
    place.write(0..i64::try_from(facts)?).await?;
    place.has_parked(usize::try_from(facts)?).await?;
    running.stop().await
}

pub(crate) async fn start(place: &Place, filter: &Filter, per_second: i32) -> Result<Progress> {
    match jobs::start(&place.database, filter, per_second, "olga".into()).await? {
        Started::Job(progress) => Ok(*progress),
        Started::SeveralConsumers => anyhow::bail!("there is one consumer"),
    }
}

pub(crate) async fn progress(place: &Place, id: i64) -> Result<Progress> {
    jobs::find(place.database.read(), id).await?.context("the job")
}

pub(crate) async fn ended(place: &Place, id: i64) -> Result<Progress> {
    eventually("the end of the redrive", 2 * PATIENCE, async || {
        let progress = progress(place, id).await?;
        ensure!(progress.job.state == JobState::Finished, "{progress:?}");
        Ok(progress)
    })
    .await
}

async fn holds_its_rate_and_can_be_stopped(place: Place) -> Result<()> {
    park(&place, FACTS).await?;
    let Reader { consumer, repaired, given } = Reader::of(&place);
    let operated = consumer.operated();
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(consumer.run(stop.clone()));

    let first = start(&place, &Filter::default(), RATE).await?.job.id;
    operated.wake_jobs();
    let given_now = || given.load(Ordering::Relaxed);
    let many = |count: u64| {
        eventually("facts to come back", PATIENCE, async move || {
            ensure!(given_now() >= count, "{} have come", given_now());
            Ok(Instant::now())
        })
    };
    // Once it is under way, its rate over some seconds, whatever the first ones took.
    let (mut from, mut begun) = (many(25).await?, given_now());
    let mut rates: Vec<f64> = Vec::new();
    while rates.last().is_none_or(|rate| !(45.0..=55.0).contains(rate)) {
        ensure!(rates.len() < WINDOWS, "{rates:?} a second");
        let (to, end) = (many(begun + WINDOW).await?, given_now());
        rates.push((end - begun) as f64 / to.duration_since(from).as_secs_f64());
        (from, begun) = (to, end);
    }

    let stopped = jobs::stop(&place.database, first, "olga".into()).await?.context("the job")?;
    eventually("what was under way to end", PATIENCE, async || {
        let Progress { job, left } = progress(&place, first).await?;
        ensure!(job.done + job.failed + left == job.total, "{job:?}");
        Ok(())
    })
    .await?;
    let Progress { job, left } = progress(&place, first).await?;
    let tried = given_now();
    ensure!(job.state == JobState::Stopped && job.total == FACTS as i64 && left > 100, "{stopped:?}");
    ensure!(job.done + job.failed == tried as i64, "{job:?} of {tried}");
    ensure!(job.failed.abs_diff(tried as i64 / 3) < 15, "{job:?} of {tried}");
    let parked = place.parked().await?;
    ensure!(parked.len() as i64 == job.total - job.done, "{} are parked", parked.len());
    ensure!(parked.iter().all(|row| row.state == State::Parked && row.redrive_job.is_none()), "{parked:?}");

    // After the fix: the rest and what has failed, as quickly as can be.
    repaired.store(true, Ordering::Relaxed);
    let second = start(&place, &Filter::default(), 0).await?;
    ensure!(second.job.total == job.total - job.done && second.left == second.job.total, "{second:?}");
    operated.wake_jobs();
    let done = ended(&place, second.job.id).await?;
    ensure!(done.job.done == done.job.total && done.job.failed == 0 && done.left == 0, "{done:?}");
    ensure!(given_now() - tried == second.job.total as u64, "some were tried twice");
    place.each_once(0..i64::try_from(FACTS)?).await?;
    place.has_parked(0).await?;
    is_noted(&place).await?;
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

async fn is_noted(place: &Place) -> Result<()> {
    let actions = parked::actions(place.database.read(), 10).await?;
    let actions: Vec<(&str, i64)> =
        actions.iter().map(|action| (action.action.as_str(), action.affected)).collect();
    let [("Redrive", rest), ("Stop_Redrive", released), ("Redrive", all)] = actions[..] else {
        anyhow::bail!("{actions:?}")
    };
    ensure!(all == FACTS as i64 && released < rest && rest < all, "{actions:?}");
    Ok(())
}

#[tokio::test]
async fn holds_its_rate_and_can_be_stopped_embedded() -> Result<()> {
    holds_its_rate_and_can_be_stopped(Place::embedded().await?).await
}

#[tokio::test]
async fn holds_its_rate_and_can_be_stopped_on_postgres() -> Result<()> {
    holds_its_rate_and_can_be_stopped(Place::postgres().await?).await
}

/// Two processes have the same consumer; the one that runs the job goes away in the middle of it.
#[tokio::test]
async fn another_process_goes_on_with_it() -> Result<()> {
    let place = Place::postgres().await?;
    park(&place, 60).await?;
    let Reader { consumer, given, .. } = Reader::of(&place);
    let operated = consumer.operated();
    let mut dying = JoinSet::new();
    dying.spawn(consumer.run(CancellationToken::new()));
    // The first ones only, in the order they were parked.
    let job = start(&place, &Filter { first: Some(50), ..Filter::default() }, 20).await?.job.id;
    operated.wake_jobs();
    eventually("some facts", PATIENCE, async || {
        ensure!(given.load(Ordering::Relaxed) > 5, "none has come");
        Ok(())
    })
    .await?;
    let neighbour = place.neighbour().await?;
    let second = Reader::of(&neighbour);
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(second.consumer.run(stop.clone()));
    drop(dying);
    let Progress { job, left } = ended(&place, job).await?;
    ensure!(job.total == 50 && job.done + job.failed == 50 && left == 0, "{job:?}");
    ensure!(job.done == place.effects().await?.len() as i64, "{job:?}");
    ensure!(second.given.load(Ordering::Relaxed) > 0, "the second process has done nothing");
    let numbers: Vec<i64> = place.parked().await?.iter().map(|row| row.seq).collect();
    ensure!(numbers.len() as i64 == 10 + job.failed, "{numbers:?}");
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// What is parked of two consumers is no single job, and what is one's is no other's.
#[tokio::test]
async fn a_job_is_of_one_consumer_and_a_message_of_one_job() -> Result<()> {
    let place = Place::embedded().await?;
    park(&place, 6).await?;
    let all = Filter::default();
    let first = start(&place, &Filter { first: Some(2), ..Filter::default() }, 1).await?;
    let second = start(&place, &all, 1).await?;
    let third = start(&place, &all, 1).await?;
    ensure!((first.left, second.left, third.left) == (2, 4, 0), "{first:?} {second:?} {third:?}");
    ensure!(third.job.state == JobState::Finished && second.job.state == JobState::Running, "{third:?}");
    for job in [first, second] {
        jobs::stop(&place.database, job.job.id, "olga".into()).await?;
    }
    let listed = jobs::list(place.database.read(), i64::MAX, 2).await?;
    ensure!(listed[0].job.id == third.job.id && listed[1].left == 4, "{listed:?}");
    let other = "UPDATE parked SET consumer = 'writer' WHERE seq = (SELECT MIN(seq) FROM parked)";
    place.database.execute_unflushed(other.to_owned()).await?;
    let started = jobs::start(&place.database, &all, 1, "olga".into()).await?;
    ensure!(started == Started::SeveralConsumers, "{started:?}");
    let ours = Filter { consumer: Some("reader".to_owned()), ..Filter::default() };
    ensure!(start(&place, &ours, 1).await?.left == 5);
    ensure!(jobs::find(place.database.read(), 1_000).await?.is_none());
    ensure!(jobs::stop(&place.database, 1_000, "olga".into()).await?.is_none());
    Ok(())
}
