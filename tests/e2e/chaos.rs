//! Chaos: two processes of each service and two gateways under load, faults in an order that a seed gives, and the judge at the end.

mod arrow;
mod picture;
mod timeline;
mod stage;
mod clients;
mod schedule;

use std::{env, fs, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{schedule::Pace, stage::Stage, timeline::Timeline};
use crate::{journal::Journal, reconciliation::reconcile_at};

const CLIENTS: u64 = 8;
/// Fewer answers than so many say that there was no load.
const LEAST: u64 = 200;

/// What both decks have, and how often: what becomes of an arrow becomes of one to each kind of server.
const KINDS: [(&str, &str, usize); 13] = [
    ("processes", "killed", 3),
    ("processes", "frozen", 1),
    ("broker", "stopped", 1),
    ("broker", "killed", 1),
    ("broker", "connections closed", 1),
    ("database", "stopped", 1),
    ("database", "killed", 1),
    ("database", "sessions ended", 1),
    ("arrows", "slow", 3),
    ("arrows", "cut", 3),
    ("arrows", "silent", 3),
    ("arrows", "no requests", 3),
    ("arrows", "no answers", 3),
];

struct Settings {
    seed: u64,
    /// How long faults begin.
    lasts: Duration,
    /// Every kind of fault strikes, however long that takes.
    whole: bool,
    /// By what their times are multiplied: at 1 they last for 5 to 60 s.
    scale: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_of_short_faults() -> Result<()> {
    run(&Settings { seed: 1, lasts: Duration::from_secs(60), whole: true, scale: 0.05 }).await
}

/// `just chaos`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as it is asked to"]
async fn for_minutes() -> Result<()> {
    let minutes: f64 = variable("CHAOS_MINUTES")?.unwrap_or(10.0);
    let seed = variable("CHAOS_SEED")?.unwrap_or_else(rand::random);
    let scale = variable("CHAOS_SCALE")?.unwrap_or(1.0);
    run(&Settings { seed, lasts: Duration::from_secs_f64(60.0 * minutes), whole: false, scale }).await
}

fn variable<T: FromStr>(name: &str) -> Result<Option<T>> {
    let Ok(text) = env::var(name) else { return Ok(None) };
    let value = text.parse().ok().with_context(|| format!("{name} is {text:?}"))?;
    Ok(Some(value))
}

/// Also writes the timeline, and what was logged last when something is wrong.
async fn run(settings: &Settings) -> Result<()> {
    let seed = settings.seed;
    eprintln!("chaos: seed {seed}, {:?} of faults, times {}", settings.lasts, settings.scale);
    let mut stage = Stage::start().await?;
    let timeline = Timeline::new();
    let mut journals: Vec<Journal> =
        (0..CLIENTS).map(|client| Journal::of(format!("user-{client}"))).collect();
    let orders = stage.database("orders");
    let outcome = tokio::select! {
        outcome = act(&mut stage, &mut journals, &timeline, settings) => outcome,
        () = timeline.watch(&orders) => Ok(()),
    };
    let folder = folder(seed)?;
    fs::write(folder.join("timeline.svg"), timeline.svg()?)?;
    eprintln!("seed {seed}, {}{} has the timeline", timeline.summary(), folder.display());
    if outcome.is_err() {
        stage.write_logs(&folder, &journals)?;
    }
    outcome.with_context(|| format!("seed {seed}: logs and journals are in {}", folder.display()))
}

/// Below the folder of the build.
fn folder(seed: u64) -> Result<PathBuf> {
    let test = env::current_exe()?;
    let target = test.ancestors().nth(3).context("the test runs outside a target directory")?;
    let folder = target.join("chaos").join(seed.to_string());
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
    let Settings { whole, scale, .. } = *settings;
    let pace = Pace { until: Instant::now() + settings.lasts, whole, scale };
    let of = |who| random(settings.seed, who);
    let Stage { members, servers, .. } = stage;
    let faults = async {
        let of_processes = schedule::of_processes(members, &pace, of(0), timeline);
        let of_servers = schedule::of_servers(servers, &pace, of(1), timeline);
        tokio::try_join!(of_processes, of_servers)?;
        enough.cancel();
        anyhow::Ok(())
    };
    let calling = journals.iter_mut().zip(2..);
    let calling = calling.map(|(journal, who)| clients::call(journal, &ways, of(who), timeline, &enough));
    tokio::try_join!(faults, try_join_all(calling))?;
    was_chaos(timeline, whole)?;
    stage.run().await?;
    judged(stage, journals, timeline, "at the end").await?;
    timeline.say("everything is stopped and started again");
    stage.restart().await?;
    judged(stage, journals, timeline, "after a restart of everything").await
}

/// Clients have called, left and called twice, and what was to strike has struck: else the judge has nothing to judge.
fn was_chaos(timeline: &Timeline, whole: bool) -> Result<()> {
    let counts = timeline.counts();
    let load = counts.answered > LEAST && counts.gone > 0 && counts.twice > 0;
    ensure!(load, "there was no load: {counts:?}");
    for (row, what, least) in KINDS.into_iter().filter(|_| whole) {
        let times = timeline.times(row, what);
        ensure!(times >= least, "{row} {what}: {times} times and not {least}");
    }
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
