//! Chaos: two processes of each service and two gateways under load, faults in an order that a seed gives, and the judge at the end.

mod arrow;
mod picture;
mod timeline;
mod stage;
mod clients;
mod schedule;
mod upgrade;

use std::{
    env, fs,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use world::Program;

use self::{
    schedule::{HOLDS, Pace},
    stage::{Servers, Stage},
    timeline::Timeline,
};
use crate::{journal::Journal, reconciliation::reconcile_at};

const CLIENTS: u64 = 8;
/// Fewer answers than so many say that there was no load.
const LEAST: u64 = 200;

/// What a deck has, how often, and whether it holds for [`HOLDS`] at least: what becomes of an arrow becomes of one to each kind of server.
const KINDS: [(&str, &str, usize, bool); 15] = [
    ("processes", "killed", 14, false),
    ("processes", "frozen", 1, false),
    ("processes", "frozen until its lease had passed", 1, false),
    ("broker", "stopped", 1, false),
    ("broker", "killed", 1, false),
    ("broker", "connections closed", 1, false),
    ("database", "stopped", 1, false),
    ("database", "killed", 1, false),
    ("database", "silent", 2, true),
    ("database", "sessions ended", 3, false),
    ("arrows", "slow", 4, false),
    ("arrows", "cut", 4, true),
    ("arrows", "silent", 4, true),
    ("arrows", "no requests", 4, true),
    ("arrows", "no answers", 4, true),
];
/// So many sessions of the database are ended by a deck of servers.
const SESSIONS: usize = 25;

struct Settings {
    seed: u64,
    /// How long faults begin.
    lasts: Duration,
    /// So many decks of faults are dealt to their end, however long that takes: of those of processes, of servers, and of arrows.
    decks: [usize; 3],
    /// By what their times are multiplied: at 1 they last for 5 to 60 s.
    scale: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_of_short_faults() -> Result<()> {
    run(&Settings { seed: 1, lasts: Duration::from_secs(60), decks: [3, 2, 1], scale: 0.05 }).await
}

/// What no run has had before: the seed of one that fails is in its error, and `CHAOS_SEED` of the environment repeats it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_minute_of_a_fresh_seed() -> Result<()> {
    let seed = variable("CHAOS_SEED")?.unwrap_or_else(rand::random);
    run(&Settings { seed, lasts: Duration::from_secs(30), decks: [1, 1, 0], scale: 0.05 }).await
}

/// `just chaos`, and `just matrix chaos`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as it is asked to"]
async fn for_minutes() -> Result<()> {
    let minutes: f64 = variable("CHAOS_MINUTES")?.unwrap_or(10.0);
    let seed = variable("CHAOS_SEED")?.unwrap_or_else(rand::random);
    let scale = variable("CHAOS_SCALE")?.unwrap_or(1.0);
    let of_processes = variable("CHAOS_DECKS_OF_PROCESSES")?.unwrap_or(0);
    let of_servers = variable("CHAOS_DECKS_OF_SERVERS")?.unwrap_or(0);
    let of_arrows = variable("CHAOS_DECKS_OF_ARROWS")?.unwrap_or(0);
    let decks = [of_processes, of_servers, of_arrows];
    run(&Settings { seed, lasts: Duration::from_secs_f64(60.0 * minutes), decks, scale }).await
}

fn variable<T: FromStr>(name: &str) -> Result<Option<T>> {
    let Ok(text) = env::var(name) else { return Ok(None) };
    let value = text.parse().ok().with_context(|| format!("{name} is {text:?}"))?;
    Ok(Some(value))
}

async fn run(settings: &Settings) -> Result<()> {
    let seed = settings.seed;
    eprintln!("chaos: seed {seed}, {:?} of faults, times {}", settings.lasts, settings.scale);
    let faults = async |stage: &mut Stage, journals: &mut [Journal], timeline: &Timeline| {
        act(stage, journals, timeline, settings).await
    };
    watched(&seed.to_string(), &binaries()?, faults).await.with_context(|| format!("seed {seed}"))
}

/// Runs something on a stage of its own with these binaries, and concludes with a timeline of this name.
async fn watched(
    name: &str,
    binaries: &Path,
    act: impl AsyncFnOnce(&mut Stage, &mut [Journal], &Timeline) -> Result<()>,
) -> Result<()> {
    let mut stage = Stage::start(binaries).await?;
    let (timeline, mut journals) = (Timeline::new(), journals());
    let orders = stage.database("orders");
    let outcome = tokio::select! {
        outcome = act(&mut stage, &mut journals, &timeline) => outcome,
        () = timeline.watch(&orders) => Ok(()),
    };
    conclude(name, &stage, &journals, &timeline, outcome)
}

/// One of each client.
fn journals() -> Vec<Journal> {
    (0..CLIENTS).map(|client| Journal::of(format!("user-{client}"))).collect()
}

/// The folder of the binaries that were built with these tests.
fn binaries() -> Result<PathBuf> {
    let gateway = Program::named("gateway")?;
    Ok(gateway.binary().parent().context("a binary is in a folder")?.to_owned())
}

/// Writes the timeline of a run, and what was logged last when something is wrong.
fn conclude(
    name: &str,
    stage: &Stage,
    journals: &[Journal],
    timeline: &Timeline,
    outcome: Result<()>,
) -> Result<()> {
    let folder = folder(name)?;
    fs::write(folder.join("timeline.svg"), timeline.svg()?)?;
    eprintln!("{name}: {}{} has the timeline", timeline.summary(), folder.display());
    if outcome.is_err() {
        stage.write_logs(&folder, journals)?;
    }
    outcome.with_context(|| format!("logs and journals are in {}", folder.display()))
}

/// Below the folder of the build.
fn folder(name: &str) -> Result<PathBuf> {
    let test = env::current_exe()?;
    let target = test.ancestors().nth(3).context("the test runs outside a target directory")?;
    let folder = target.join("chaos").join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The random numbers of one of those who take them, so that none depends on how fast the others are.
fn random(seed: u64, of: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(of))
}

async fn act(
    stage: &mut Stage,
    journals: &mut [Journal],
    timeline: &Timeline,
    settings: &Settings,
) -> Result<()> {
    let (ways, enough) = (stage.ways()?, CancellationToken::new());
    let (until, scale) = (Instant::now() + settings.lasts, settings.scale);
    let [of_processes, of_servers, of_arrows] = settings.decks.map(|decks| Pace { until, decks, scale });
    let of = |who| random(settings.seed, who);
    let databases = ["orders", "payments"].map(|service| stage.database(service));
    let Stage { members, servers: Servers { postgres, rabbitmq, arrows }, .. } = stage;
    let faults = async {
        let of_processes = schedule::of_processes(members, &databases, &of_processes, of(0), timeline);
        let of_servers = schedule::of_servers(postgres, rabbitmq, &of_servers, of(1), timeline);
        let of_arrows = schedule::of_arrows(arrows, &of_arrows, of(2 + CLIENTS), timeline);
        tokio::try_join!(of_processes, of_servers, of_arrows)?;
        enough.cancel();
        anyhow::Ok(())
    };
    let calling = journals.iter_mut().zip(2..);
    let calling = calling.map(|(journal, who)| clients::call(journal, &ways, of(who), timeline, &enough));
    tokio::try_join!(faults, try_join_all(calling))?;
    was_chaos(timeline, settings.decks)?;
    stage.run().await?;
    judged(stage, journals, timeline, "at the end").await?;
    timeline.say("everything is stopped and started again");
    stage.restart().await?;
    judged(stage, journals, timeline, "after a restart of everything").await
}

/// Clients have called, left and called twice, and what was to strike has struck: else the judge has nothing to judge.
fn was_chaos(timeline: &Timeline, [of_processes, of_servers, of_arrows]: [usize; 3]) -> Result<()> {
    let counts = timeline.counts();
    let load = counts.answered > LEAST && counts.gone > 0 && counts.twice > 0;
    ensure!(load, "there was no load: {counts:?}");
    for (row, what, each, holds) in KINDS {
        let decks = match row {
            "processes" => of_processes,
            "arrows" => of_arrows,
            _ => of_servers,
        };
        let times = timeline.times(row, what, if holds { HOLDS.as_secs_f64() } else { 0.0 });
        ensure!(times >= each * decks, "{row} {what}: {times} times and not {}", each * decks);
    }
    let sessions = SESSIONS * of_servers;
    ensure!(usize::try_from(counts.sessions)? >= sessions, "{} sessions and not {sessions}", counts.sessions);
    Ok(())
}

/// Every call is made again, and the books are read.
async fn judged(stage: &Stage, journals: &mut [Journal], timeline: &Timeline, when: &str) -> Result<()> {
    let calls: usize = journals.iter().map(|journal| journal.calls.len()).sum();
    timeline.say(&format!("the judge, {when}: {calls} calls"));
    stage.judge()?.believes(journals).await.context(when.to_owned())?;
    let (output, agree) = reconcile_at(stage.service("orders")?, stage.service("payments")?).await?;
    ensure!(agree, "{when}: {output}");
    timeline.say(&format!("{when} all of it is true"));
    Ok(())
}
