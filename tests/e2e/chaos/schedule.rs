//! The faults: decks of all kinds, shuffled by the seed and dealt one after the other; those of processes, of servers and of arrows beside each
//! other.

use std::{ops::Range, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use rand::{Rng as _, rngs::StdRng, seq::SliceRandom as _};
use tokio::time::{Instant, sleep, timeout};
use world::{Postgres, RabbitMq, eventually};

use super::{
    arrow::{Arrow, Mode},
    stage::Member,
    timeline::Timeline,
};
use crate::alone::number;

/// How long faults last, between which they come, and how long a killed process stays away, in seconds.
const LASTS: Range<f64> = 5.0..60.0;
const PAUSE: Range<f64> = 2.0..10.0;
const AWAY: Range<f64> = 0.0..5.0;
/// What is cut or silent is so for no shorter time, however short the others are: who waits for it has to notice.
pub(super) const HOLDS: Duration = Duration::from_secs(5);

/// So many processes of a deck are killed.
const KILLS: usize = 14;
/// How long a lease may take to pass, and a process to have one: 12 s, and whatever its database is away for meanwhile.
const PASSES: Duration = Duration::from_secs(300);
/// Fewer sessions are not worth ending, and how long as many may take to be there: each of the four services has three and more.
const SESSIONS: i64 = 9;
const BACK: Duration = Duration::from_secs(60);
/// Between two looks at a database, and how long one may take while it is silent.
const LOOK: Duration = Duration::from_millis(200);
const ANSWERS: Duration = Duration::from_secs(5);

/// The sessions of the mesh.
const OURS: &str = "FROM pg_stat_activity WHERE application_name = 'ordermesh'";
/// The process whose relay has the lease, which is held as `process PID (…)`.
const RELAY: &str = "SELECT CAST(split_part(holder, ' ', 2) AS BIGINT) FROM leases
    WHERE name = 'outbox' AND expire_time > CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)";

/// When no more faults begin, and how their times are multiplied.
pub(super) struct Pace {
    pub(super) until: Instant,
    /// So many decks are dealt to their end, also after that.
    pub(super) decks: usize,
    pub(super) scale: f64,
}

impl Pace {
    /// Of the deck with this number, from 0 on.
    fn is_over(&self, deck: usize) -> bool {
        Instant::now() >= self.until && deck >= self.decks
    }

    fn draw(&self, seconds: Range<f64>, random: &mut StdRng) -> Duration {
        Duration::from_secs_f64(self.scale * random.random_range(seconds))
    }

    async fn sleep(&self, seconds: Range<f64>, random: &mut StdRng) {
        sleep(self.draw(seconds, random)).await;
    }

    /// As long as what is cut or silent is so.
    async fn hold(&self, random: &mut StdRng) {
        sleep(self.draw(LASTS, random).max(HOLDS)).await;
    }
}

/// Deals decks one after the other, each fault with a pause behind it, until none is to begin any more.
async fn deal<Fault>(
    deck: impl Fn() -> Vec<Fault>,
    pace: &Pace,
    mut random: StdRng,
    mut strike: impl AsyncFnMut(Fault, &mut StdRng) -> Result<()>,
) -> Result<()> {
    for number in 0.. {
        let mut deck = deck();
        deck.shuffle(&mut random);
        for fault in deck {
            if pace.is_over(number) {
                return Ok(());
            }
            strike(fault, &mut random).await?;
            pace.sleep(PAUSE, &mut random).await;
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum OfProcess {
    Kill,
    Freeze,
    /// One whose relay has the lease, until another one's has.
    FreezeRelay,
}

/// Faults of one process at a time. The databases are those of the services, by no arrow.
pub(super) async fn of_processes(
    members: &mut [Member],
    databases: &[String],
    pace: &Pace,
    random: StdRng,
    timeline: &Timeline,
) -> Result<()> {
    let deck = || {
        let mut deck = vec![OfProcess::Kill; KILLS];
        deck.extend([OfProcess::Freeze, OfProcess::FreezeRelay]);
        deck
    };
    deal(deck, pace, random, async |fault, random: &mut StdRng| {
        if matches!(fault, OfProcess::FreezeRelay) {
            return a_lease_passes(members, databases, pace, random, timeline).await;
        }
        let member = &mut members[random.random_range(0..members.len())];
        let is_killed = matches!(fault, OfProcess::Kill);
        let bar = timeline.begin("processes", if is_killed { "killed" } else { "frozen" }, &member.name);
        if is_killed {
            member.kill().await?;
            pace.sleep(AWAY, random).await;
            member.start().await?;
        } else {
            member.freeze(true).await?;
            pace.sleep(LASTS, random).await;
            member.freeze(false).await?;
        }
        timeline.end(bar);
        Ok(())
    })
    .await
}

/// Freezes a process whose relay has the lease until that of another one has it, and then lets it go on.
async fn a_lease_passes(
    members: &mut [Member],
    databases: &[String],
    pace: &Pace,
    random: &mut StdRng,
    timeline: &Timeline,
) -> Result<()> {
    // One that was killed keeps its lease for a while.
    let holds = eventually("a process that runs and has a lease", PASSES, async || {
        sleep(LOOK).await;
        for (at, database) in databases.iter().enumerate() {
            if let Ok(holder) = relay(database).await
                && let Some(member) = members.iter().position(|member| member.pid() == Some(holder))
            {
                return Ok((member, at, holder));
            }
        }
        Err(anyhow!("none of those that run has one"))
    });
    let (member, at, before) = holds.await?;
    let (member, database) = (&mut members[member], &databases[at]);
    let bar = timeline.begin("processes", "frozen until its lease had passed", &member.name);
    member.freeze(true).await?;
    let passes = eventually("another process to have its lease", PASSES, async || {
        sleep(LOOK).await;
        let now = relay(database).await?;
        ensure!(now != before, "{before} has it");
        Ok(())
    });
    let (passed, ()) = tokio::join!(passes, pace.sleep(LASTS, random));
    member.freeze(false).await?;
    timeline.end(bar);
    passed
}

/// The id of the process whose relay has the lease.
async fn relay(database: &str) -> Result<i64> {
    timeout(ANSWERS, number(database, RELAY)).await.context("the database is silent")?
}

#[derive(Debug, Clone, Copy)]
enum OfServer {
    StopBroker,
    KillBroker,
    CloseConnections,
    StopDatabase,
    KillDatabase,
    /// All of its processes stand still.
    SilenceDatabase,
    EndSessions,
}

impl OfServer {
    /// The row of the timeline, and what it says there.
    const fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::StopBroker => ("broker", "stopped"),
            Self::KillBroker => ("broker", "killed"),
            Self::CloseConnections => ("broker", "connections closed"),
            Self::StopDatabase => ("database", "stopped"),
            Self::KillDatabase => ("database", "killed"),
            Self::SilenceDatabase => ("database", "silent"),
            Self::EndSessions => ("database", "sessions ended"),
        }
    }
}

/// Faults of one server at a time.
pub(super) async fn of_servers(
    postgres: &mut Postgres,
    rabbitmq: &mut RabbitMq,
    pace: &Pace,
    random: StdRng,
    timeline: &Timeline,
) -> Result<()> {
    let deck = || {
        let mut deck = vec![OfServer::StopBroker, OfServer::KillBroker, OfServer::CloseConnections];
        deck.extend([OfServer::StopDatabase, OfServer::KillDatabase]);
        deck.extend([OfServer::SilenceDatabase; 2]);
        deck.extend([OfServer::EndSessions; 3]);
        deck
    };
    deal(deck, pace, random, async |fault, random: &mut StdRng| {
        strike(postgres, rabbitmq, fault, pace, random, timeline).await
    })
    .await
}

async fn strike(
    postgres: &mut Postgres,
    rabbitmq: &mut RabbitMq,
    fault: OfServer,
    pace: &Pace,
    random: &mut StdRng,
    timeline: &Timeline,
) -> Result<()> {
    let (row, what) = fault.named();
    let bar = timeline.begin(row, what, &format!("the {row}"));
    match fault {
        OfServer::StopBroker => rabbitmq.stop().await?,
        OfServer::KillBroker => rabbitmq.kill().await?,
        OfServer::CloseConnections => drop(rabbitmq.control(&["close_all_connections", "chaos"]).await?),
        OfServer::StopDatabase => postgres.stop().await?,
        OfServer::KillDatabase => postgres.kill().await?,
        OfServer::SilenceDatabase => postgres.silence(true)?,
        OfServer::EndSessions => end_sessions(&postgres.url("postgres"), timeline).await?,
    }
    match fault {
        OfServer::StopBroker | OfServer::KillBroker => {
            pace.sleep(LASTS, random).await;
            rabbitmq.start_again().await?;
        }
        OfServer::StopDatabase | OfServer::KillDatabase => {
            pace.sleep(LASTS, random).await;
            postgres.start_again().await?;
        }
        OfServer::SilenceDatabase => {
            pace.hold(random).await;
            postgres.silence(false)?;
        }
        OfServer::CloseConnections | OfServer::EndSessions => {}
    }
    timeline.end(bar);
    Ok(())
}

/// Ends all sessions of the mesh, once there are some.
async fn end_sessions(postgres: &str, timeline: &Timeline) -> Result<()> {
    eventually("sessions of the mesh", BACK, async || {
        sleep(LOOK).await;
        let open = number(postgres, &format!("SELECT COUNT(*) {OURS}")).await?;
        ensure!(open >= SESSIONS, "{open} sessions");
        anyhow::Ok(())
    })
    .await?;
    let end = format!("SELECT COUNT(*) FILTER (WHERE pg_terminate_backend(pid)) {OURS}");
    let ended = number(postgres, &end).await?;
    timeline.count(|counts| counts.sessions += ended);
    Ok(())
}

/// The arrows of the architecture, by what they lead to.
const TO: [&str; 4] = ["orders", "payments", "the database", "the broker"];
const MODES: [Mode; 5] = [Mode::Slow, Mode::Cut, Mode::Silent, Mode::NoRequests, Mode::NoAnswers];

/// Faults of one arrow at a time.
pub(super) async fn of_arrows(
    arrows: &[Arrow],
    pace: &Pace,
    random: StdRng,
    timeline: &Timeline,
) -> Result<()> {
    let deck = || TO.into_iter().flat_map(|to| MODES.map(|mode| (to, mode))).collect::<Vec<_>>();
    deal(deck, pace, random, async |(to, mode), random: &mut StdRng| {
        let mut those: Vec<&Arrow> = arrows.iter().filter(|arrow| arrow.to == to).collect();
        those.shuffle(random);
        let arrow = those.first().with_context(|| format!("there is no arrow to {to}"))?;
        let bar = timeline.begin("arrows", name(mode), &arrow.name);
        arrow.set(mode);
        if mode == Mode::Slow {
            pace.sleep(LASTS, random).await;
        } else {
            pace.hold(random).await;
        }
        arrow.set(Mode::Open);
        timeline.end(bar);
        anyhow::Ok(())
    })
    .await
}

fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Open => "open",
        Mode::Slow => "slow",
        Mode::Cut => "cut",
        Mode::Silent => "silent",
        Mode::NoRequests => "no requests",
        Mode::NoAnswers => "no answers",
    }
}
