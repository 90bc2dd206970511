//! The faults: decks of all kinds, shuffled by the seed and dealt one after the other, those of processes beside those of servers and arrows.

use std::{ops::Range, time::Duration};

use anyhow::{Context as _, Result};
use rand::{Rng as _, rngs::StdRng, seq::SliceRandom as _};
use tokio::time::{Instant, sleep};

use super::{
    arrow::Mode,
    stage::{Member, Servers},
    timeline::Timeline,
};
use crate::alone::run;

/// How long faults last, between which they come, and how long a killed process stays away, in seconds.
const LASTS: Range<f64> = 5.0..60.0;
const PAUSE: Range<f64> = 2.0..10.0;
const AWAY: Range<f64> = 0.0..5.0;

/// When no more faults begin, and how their times are multiplied.
pub(super) struct Pace {
    pub(super) until: Instant,
    /// The first deck of each lane is dealt to its end, also after that.
    pub(super) whole: bool,
    pub(super) scale: f64,
}

impl Pace {
    fn is_over(&self, is_first_deck: bool) -> bool {
        Instant::now() >= self.until && !(self.whole && is_first_deck)
    }

    async fn sleep(&self, seconds: Range<f64>, random: &mut StdRng) {
        sleep(Duration::from_secs_f64(self.scale * random.random_range(seconds))).await;
    }
}

#[derive(Debug, Clone, Copy)]
enum OfProcess {
    Kill,
    Freeze,
}

/// Faults of one process at a time.
pub(super) async fn of_processes(
    members: &mut [Member],
    pace: &Pace,
    mut random: StdRng,
    timeline: &Timeline,
) -> Result<()> {
    let mut is_first_deck = true;
    loop {
        let mut deck = [OfProcess::Kill, OfProcess::Kill, OfProcess::Kill, OfProcess::Freeze];
        deck.shuffle(&mut random);
        for fault in deck {
            if pace.is_over(is_first_deck) {
                return Ok(());
            }
            let member = &mut members[random.random_range(0..members.len())];
            match fault {
                OfProcess::Kill => {
                    let bar = timeline.begin("processes", "killed", &member.name);
                    member.kill().await?;
                    pace.sleep(AWAY, &mut random).await;
                    member.start().await?;
                    timeline.end(bar);
                }
                OfProcess::Freeze => {
                    let bar = timeline.begin("processes", "frozen", &member.name);
                    member.freeze(true).await?;
                    pace.sleep(LASTS, &mut random).await;
                    member.freeze(false).await?;
                    timeline.end(bar);
                }
            }
            pace.sleep(PAUSE, &mut random).await;
        }
        is_first_deck = false;
    }
}

#[derive(Debug, Clone, Copy)]
enum OfServers {
    StopBroker,
    KillBroker,
    CloseConnections,
    StopDatabase,
    KillDatabase,
    EndSessions,
    /// What becomes of one arrow to this kind of server.
    Arrow(&'static str, Mode),
}

fn deck() -> Vec<OfServers> {
    let mut deck = vec![
        OfServers::StopBroker,
        OfServers::KillBroker,
        OfServers::CloseConnections,
        OfServers::StopDatabase,
        OfServers::KillDatabase,
        OfServers::EndSessions,
    ];
    for to in ["a service", "the database", "the broker"] {
        let modes = [Mode::Slow, Mode::Cut, Mode::Silent, Mode::NoRequests, Mode::NoAnswers];
        deck.extend(modes.map(|mode| OfServers::Arrow(to, mode)));
    }
    deck
}

/// Faults of servers and of the ways to them, one at a time.
pub(super) async fn of_servers(
    servers: &mut Servers,
    pace: &Pace,
    mut random: StdRng,
    timeline: &Timeline,
) -> Result<()> {
    let mut is_first_deck = true;
    loop {
        let mut deck = deck();
        deck.shuffle(&mut random);
        for fault in deck {
            if pace.is_over(is_first_deck) {
                return Ok(());
            }
            strike(servers, fault, pace, &mut random, timeline).await?;
            pace.sleep(PAUSE, &mut random).await;
        }
        is_first_deck = false;
    }
}

async fn strike(
    servers: &mut Servers,
    fault: OfServers,
    pace: &Pace,
    random: &mut StdRng,
    timeline: &Timeline,
) -> Result<()> {
    let Servers { postgres, rabbitmq, arrows } = servers;
    let bar = match fault {
        OfServers::StopBroker | OfServers::KillBroker => {
            let killed = matches!(fault, OfServers::KillBroker);
            let bar = timeline.begin("broker", if killed { "killed" } else { "stopped" }, "the broker");
            if killed {
                rabbitmq.kill().await?
            } else {
                rabbitmq.stop().await?
            }
            pace.sleep(LASTS, random).await;
            rabbitmq.start_again().await?;
            bar
        }
        OfServers::CloseConnections => {
            let bar = timeline.begin("broker", "connections closed", "the broker");
            rabbitmq.control(&["close_all_connections", "chaos"]).await?;
            bar
        }
        OfServers::StopDatabase | OfServers::KillDatabase => {
            let killed = matches!(fault, OfServers::KillDatabase);
            let bar = timeline.begin("database", if killed { "killed" } else { "stopped" }, "the database");
            if killed {
                postgres.kill().await?
            } else {
                postgres.stop().await?
            }
            pace.sleep(LASTS, random).await;
            postgres.start_again().await?;
            bar
        }
        OfServers::EndSessions => {
            let bar = timeline.begin("database", "sessions ended", "the database");
            let end =
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ordermesh'";
            run(&postgres.url("postgres"), end).await?;
            bar
        }
        OfServers::Arrow(to, mode) => {
            let mut those: Vec<_> = arrows.iter().filter(|arrow| arrow.to == to).collect();
            those.shuffle(random);
            let arrow = those.first().with_context(|| format!("there is no arrow to {to}"))?;
            let bar = timeline.begin("arrows", name(mode), &arrow.name);
            arrow.set(mode);
            pace.sleep(LASTS, random).await;
            arrow.set(Mode::Open);
            bar
        }
    };
    timeline.end(bar);
    Ok(())
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
