//! Four processes with a relay and a consumer each, killed and frozen at random: every message has its effect once.

use std::{env, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use messaging::{
    broker::{Outcome, Publisher, rabbit::RabbitBroker},
    envelope::Envelope,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::Rng as _;
use sea_orm::{ConnectionTrait as _, Statement};
use storage::Database;
use world::{PATIENCE, Process, Program, eventually};

use crate::{
    between::OnPublish,
    fact::Effects,
    place::{Place, topology},
    running::{LEASE_TERM, Running},
};

const MESSAGES: i64 = 20_000;
const WORKERS: usize = 4;
const DEATHS: usize = 12;
/// Deaths that meet who publishes.
const FIRST_PUBLISHER: usize = 1;
const FROZEN: usize = 6;

/// Set in the processes that are killed: the databases's and the broker's URL.
const PLACE: &str = "ORDERMESH_TEST_WORKER";

/// What one of those processes does. Without its variable it is a test of nothing.
#[tokio::test]
async fn worker() -> Result<()> {
    let Ok(place) = env::var(PLACE) else { return Ok(()) };
    let (database, amqp) = place.split_once(' ').context("two URLs")?;
    let broker = Arc::new(RabbitBroker::new(amqp, topology())?);
    let place = Place::join(&database.parse()?, broker).await?;
    let checked = Checked(place.database.clone());
    let _running = Running::default().relay_through(&place, checked).consumer(&place, Effects::always());
    eprintln!("at work");
    std::future::pending().await
}

/// Looks, before anything is published, whether this process holds the lease.
#[derive(Debug, Clone)]
struct Checked(Database);

#[async_trait]
impl OnPublish for Checked {
    async fn publish(&self, window: &[Envelope], broker: &mut dyn Publisher) -> Vec<Outcome> {
        let sql = "SELECT holder FROM leases WHERE name = 'outbox'
            AND expire_time > extract(epoch FROM clock_timestamp()) * 1000000";
        let read = self.0.read();
        let row = read.query_one_raw(Statement::from_string(read.get_database_backend(), sql)).await;
        let holder = row.map(|row| row.and_then(|row| row.try_get_by_index::<String>(0).ok()));
        match holder {
            Ok(Some(holder)) if holder.starts_with(&format!("process {} ", std::process::id())) => {}
            holder => eprintln!("without the lease: {holder:?}"),
        }
        eprintln!("publishes");
        broker.publish(window).await
    }
}

#[tokio::test]
async fn killed_workers_lose_and_double_nothing() -> Result<()> {
    let place = Place::real().await?;
    let amqp = place.rabbitmq.as_ref().context("a place with RabbitMQ")?.amqp_url();
    let program = Program::at(&env::current_exe()?)
        .args(["workers::worker", "--exact", "--nocapture"])
        .env(PLACE, format!("{} {amqp}", place.connection_url()));
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(program.start()?);
    }
    for worker in &mut workers {
        worker.line("at work").await?;
    }

    let (written, graves) = tokio::join!(write(&place), kill_at_random(&place, &program, &mut workers));
    written?;
    let graves = graves?;
    place.has_effects(usize::try_from(MESSAGES)?).await?;
    place.is_drained().await?;
    place.each_once(0..MESSAGES).await?;
    ensure!(place.parked().await?.is_empty(), "a crash parks nothing");
    let publishers = graves.iter().chain(&workers).filter(|worker| publishes(worker)).count();
    let outputs: Vec<String> = graves.iter().chain(&workers).map(Process::output).collect();
    let trespass = outputs.iter().find_map(|output| output.lines().find(|line| line.starts_with("without")));
    ensure!(trespass.is_none(), "{trespass:?}");
    ensure!(publishers > 1, "the one who published was never killed");
    Ok(())
}

/// Writes at a pace that leaves something to do until the last death.
async fn write(place: &Place) -> Result<()> {
    for first in (0..MESSAGES).step_by(200) {
        place.write(first..first + 200).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Kills one worker after the other and starts a new one in its place; one is frozen for longer than its lease instead. That one, and
/// another, are those who publish: chance alone may spare them.
async fn kill_at_random(place: &Place, program: &Program, workers: &mut [Process]) -> Result<Vec<Process>> {
    let mut graves = Vec::new();
    for death in 0..DEATHS {
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(300..1_500))).await;
        let victim = match death {
            FIRST_PUBLISHER | FROZEN => publisher(place, workers).await?,
            _ => rand::rng().random_range(0..WORKERS),
        };
        if death == FROZEN {
            let pid = Pid::from_raw(i32::try_from(workers[victim].pid())?);
            kill(pid, Signal::SIGSTOP)?;
            tokio::time::sleep(LEASE_TERM * 2).await;
            kill(pid, Signal::SIGCONT)?;
            continue;
        }
        workers[victim].kill9().await?;
        let heir = program.start()?;
        graves.push(std::mem::replace(&mut workers[victim], heir));
    }
    Ok(graves)
}

/// The worker that has published something and holds the lease, once there is one.
async fn publisher(place: &Place, workers: &[Process]) -> Result<usize> {
    let sql = "SELECT holder FROM leases WHERE name = 'outbox'";
    let found = eventually("a worker that publishes", PATIENCE, async || {
        let holder: String = place.one(sql).await?;
        let leads =
            |worker: &Process| holder.starts_with(&format!("process {} ", worker.pid())) && publishes(worker);
        workers.iter().position(leads).context("none of them holds the lease and has published")
    });
    found.await
}

fn publishes(worker: &Process) -> bool {
    worker.output().contains("publishes")
}
