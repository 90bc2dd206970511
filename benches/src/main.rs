//! `just bench`: orders per second from the HTTP POST to the end of the order, in rounds that alternate with pgbench on the same
//! server, because the speed of a disk changes from minute to minute and only ratios of the same minute mean anything.

mod arrangement;
mod load;
mod yardstick;
mod report;

use anyhow::Result;
use clap::Parser as _;

use crate::{arrangement::Kind, report::Round};

/// What is measured, and how often.
#[derive(Debug, Clone, clap::Parser)]
struct Settings {
    /// Rounds, each with one run of everything
    #[arg(long, default_value = "5")]
    rounds: u32,
    /// How long orders are placed in each run, in seconds
    #[arg(long, default_value = "10")]
    seconds: u64,
    /// Connections that place orders, each waiting for its answer
    #[arg(long, default_value = "64")]
    clients: usize,
    /// Accounts that the orders are spread over
    #[arg(long, default_value = "10000")]
    accounts: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let settings = Settings::parse();
    let mut rounds = Vec::new();
    for number in 1..=settings.rounds {
        let mut round = Round::default();
        for kind in [Kind::Apart, Kind::Embedded] {
            let stage = arrangement::Stage::set(kind).await?;
            round.tpc_b.push(yardstick::tpc_b(stage.postgres(), settings.seconds).await?);
            load::open_accounts(&stage, settings.accounts).await?;
            let spread = load::run(&stage, &settings, settings.accounts).await?;
            let hot = load::run(&stage, &settings, 1).await?;
            round.runs.push((kind, spread, hot));
        }
        report::round(number, &round)?;
        rounds.push(round);
    }
    report::summary(&rounds)
}
