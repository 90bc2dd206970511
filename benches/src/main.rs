//! `just bench`: orders per second from the HTTP POST to the end of the order, and all that belongs to it, in rounds that alternate
//! with yardsticks on the same servers, because the speed of a disk changes from minute to minute and only ratios of the same
//! minute mean anything.

mod arrangement;
mod secured;
mod callers;
mod load;
mod calls;
mod pace;
mod stored;
mod against;
mod footprint;
mod peers;
mod yardstick;
mod report;
mod plot;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Parser as _, ValueEnum as _};

use crate::{
    against::mean,
    arrangement::{Kind, Stage},
    load::{Measured, Until},
    peers::Peer,
    report::{Of, Report},
};

/// Callers of CreateOrder over gRPC, and connections of the pgbench beside them.
const CALLERS: usize = 16;
/// Orders that each account has before the first run, where there are few and where there are many.
const STORED: (usize, usize) = (1, 100);

/// Accounts that a peer opens by itself.
const PEER_ACCOUNTS: usize = 10_000;

/// What is measured of processes apart, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Orders per second beside TPC-B, spread and on one account.
    Rate,
    /// CreateOrder beside pgbench of its two inserts.
    Calls,
    /// The time to the end of an order at 200 orders a second.
    Pace,
    /// With a hundred times as many orders stored.
    Stored,
    /// What the log costs.
    Log,
    /// What tokens, and TLS on every arrow, cost.
    Secured,
}

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
    /// Arrangements to leave out, such as `embedded`
    #[arg(long, value_enum, value_delimiter = ',')]
    without: Vec<Kind>,
    /// What to measure of processes apart, instead of everything
    #[arg(long, value_enum, value_delimiter = ',')]
    parts: Vec<Part>,
    /// A folder with the binaries of an earlier build: it takes turns with this one, and nothing else is measured
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
    /// Systems to measure beside ours, made ready by scripts/setup-peers
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Orders after which the memory of `ordermesh up` is read; 0 leaves this out
    #[arg(long, default_value = "1000000")]
    footprint_orders: usize,
    /// A document whose part between the marks `measured` is replaced by the tables; picture and values are written beside it
    #[arg(long)]
    write: Option<PathBuf>,
    /// Measures nothing: tables and picture are made of the values that `--write` has left here
    #[arg(long)]
    render: Option<PathBuf>,
}

/// On one thread: what wakes another one takes processor time from what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let settings = Settings::parse();
    if let Some(values) = &settings.render {
        let report = Report::read(values)?;
        return settings
            .write
            .map_or_else(|| report.print("as measured"), |document| report.write_into(&document));
    }
    if let Some(document) = &settings.write {
        report::check(document)?;
    }
    let mut report = Report::default();
    for number in 1..=settings.rounds {
        settings.round(&mut report).await?;
        report.print(&format!("after round {number} of {}", settings.rounds))?;
    }
    if settings.footprint_orders > 0 && settings.against.is_none() {
        settings.footprint(&mut report).await?;
        report.print("with the footprint")?;
    }
    settings.write.as_deref().map_or(Ok(()), |document| report.write_into(document))
}

impl Settings {
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    async fn round(&self, report: &mut Report) -> Result<()> {
        let with = |kind| !self.without.contains(&kind);
        if let Some(earlier) = &self.against {
            for kind in [Kind::Apart, Kind::Embedded].into_iter().filter(|kind| with(*kind)) {
                self.against(earlier, kind, report).await?;
            }
            return Ok(());
        }
        let together = if with(Kind::Apart) { self.apart(report).await? } else { None };
        if with(Kind::OneByOne) {
            self.one_by_one(report, together).await?;
        }
        if with(Kind::Embedded) {
            self.embedded(report).await?;
        }
        for peer in &self.peers {
            let rate = peer.measure(self.clients, self.accounts.min(PEER_ACCOUNTS), self.time()).await?;
            report.figure(&format!("orders/s of the peer {peer:?}"), rate);
            if let Some((spread, _)) = together {
                report.ratio(&format!("orders/s ÷ the peer {peer:?}"), Of::AtLeast(3.0), spread / rate);
            }
        }
        Ok(())
    }

    async fn run(&self, stage: &Stage, accounts: usize) -> Result<Measured> {
        load::run(stage, self.clients, accounts, Until::Time(self.time())).await
    }

    /// Returns orders per second, spread and on one account, if they are measured.
    async fn apart(&self, report: &mut Report) -> Result<Option<(f64, f64)>> {
        let mut stage = self.filled(Kind::Apart, STORED.0).await?;
        let mut rates = None;
        let chosen = |part: &&Part| self.parts.is_empty() || self.parts.contains(part);
        for part in Part::value_variants().iter().filter(chosen) {
            // None pays for what the one before has left to be done in the background.
            stored::clean(&stage).await?;
            match part {
                Part::Rate => rates = Some(self.rates(&stage, report).await?),
                Part::Calls => self.acknowledged(&mut stage, report).await?,
                Part::Pace => self.paced(&stage, report).await?,
                Part::Stored => self.stored(&stage, report).await?,
                Part::Log => self.logged(&stage, report).await?,
                Part::Secured => self.secured(&stage, report).await?,
            }
        }
        Ok(rates)
    }

    async fn rates(&self, stage: &Stage, report: &mut Report) -> Result<(f64, f64)> {
        let tpc_b = yardstick::tpc_b(stage.postgres(), self.seconds).await?;
        let spread = self.run(stage, self.accounts).await?;
        let hot = self.run(stage, 1).await?.per_second();
        report.figure("TPC-B, transactions/s", tpc_b);
        report.figure("orders/s, spread", spread.per_second());
        report.figure("orders/s, one hot account", hot);
        report.processor(&spread);
        report.ratio("orders/s ÷ TPC-B, processes apart", Of::AtLeast(1.0), spread.per_second() / tpc_b);
        report.ratio("one hot account ÷ spread", Of::AtLeast(0.9), hot / spread.per_second());
        Ok((spread.per_second(), hot))
    }

    async fn acknowledged(&self, stage: &mut Stage, report: &mut Report) -> Result<()> {
        let pairs = yardstick::pairs(stage.postgres(), CALLERS, self.seconds).await?;
        let alone = calls::acknowledged_alone(stage, CALLERS, self.accounts, self.time()).await?;
        let paid = calls::acknowledged(stage, CALLERS, self.accounts, self.time()).await?;
        report.figure("CreateOrder over gRPC, acknowledged/s, the broker away", alone);
        report.figure("CreateOrder over gRPC, acknowledged/s, orders being paid", paid);
        report.figure("pgbench of its two inserts, transactions/s", pairs);
        report.ratio("CreateOrder ÷ pgbench of its two inserts", Of::AtLeast(1.5), alone / pairs);
        Ok(())
    }

    async fn paced(&self, stage: &Stage, report: &mut Report) -> Result<()> {
        let series = pace::series(stage).await?.p50.as_secs_f64();
        let (orders, beside) = tokio::try_join!(
            pace::orders(stage, self.accounts, self.time()),
            pace::commits(stage, self.time())
        )?;
        report.figure("three commits and two confirms in series, ms", series * 1e3);
        report.figure("POST to the end at 200/s, p50, ms", orders.p50.as_secs_f64() * 1e3);
        report.figure("POST to the end at 200/s, p99, ms", orders.p99.as_secs_f64() * 1e3);
        report.figure("one commit meanwhile, p99, ms", beside.p99.as_secs_f64() * 1e3);
        report.ratio("p50 at 200/s ÷ series", Of::AtMost(2.0), orders.p50.as_secs_f64() / series);
        report.ratio("p99 at 200/s ÷ series", Of::AtMost(5.0), orders.p99.as_secs_f64() / series);
        Ok(())
    }

    async fn stored(&self, few: &Stage, report: &mut Report) -> Result<()> {
        let many = self.filled(Kind::Apart, STORED.1).await?;
        stored::clean(&many).await?;
        let [with_few, with_many] =
            self.in_turns(few, &many).await?.map(|runs| mean(&runs, Measured::per_second));
        report.figure("orders/s with a hundred times as many stored", with_many);
        report.ratio(
            "with a hundred times as many orders stored ÷ with few",
            Of::AtLeast(0.9),
            with_many / with_few,
        );
        if self.accounts * STORED.1 >= stored::LEAST {
            report.ratio("page 10,000 ÷ page 1", Of::AtMost(1.2), stored::late_page(&many).await?);
        }
        Ok(())
    }

    async fn logged(&self, telling: &Stage, report: &mut Report) -> Result<()> {
        let silent = self.filled(Kind::Silent, STORED.0).await?;
        stored::clean(&silent).await?;
        let [with, without] = self.in_turns(telling, &silent).await?;
        let ratio = |of| mean(&with, of) / mean(&without, of);
        report.figure(
            "CPU of orders, payments and gateway with their log ÷ without",
            ratio(Measured::processor_per_order),
        );
        report.ratio("orders/s with the log ÷ without", Of::AtLeast(0.95), ratio(Measured::per_second));
        Ok(())
    }

    /// A mesh of processes apart, with so many orders of each account.
    async fn filled(&self, kind: Kind, per_account: usize) -> Result<Stage> {
        let stage = Stage::set(kind).await?;
        load::open_accounts(&stage, self.accounts).await?;
        stored::fill(&stage, self.accounts, per_account).await?;
        Ok(stage)
    }

    async fn one_by_one(&self, report: &mut Report, together: Option<(f64, f64)>) -> Result<()> {
        let stage = Stage::set(Kind::OneByOne).await?;
        load::open_accounts(&stage, self.accounts).await?;
        let spread = self.run(&stage, self.accounts).await?.per_second();
        let hot = self.run(&stage, 1).await?.per_second();
        report.figure("orders/s one by one, spread", spread);
        report.figure("orders/s one by one, one hot account", hot);
        if let Some((spread_together, hot_together)) = together {
            report.ratio("batched ÷ one by one, spread", Of::AtLeast(5.0), spread_together / spread);
            report.ratio("batched ÷ one by one, one hot account", Of::AtLeast(10.0), hot_together / hot);
        }
        Ok(())
    }

    async fn embedded(&self, report: &mut Report) -> Result<()> {
        let stage = Stage::set(Kind::Embedded).await?;
        load::open_accounts(&stage, self.accounts).await?;
        let tpc_b = yardstick::tpc_b(stage.postgres(), self.seconds).await?;
        let spread = self.run(&stage, self.accounts).await?;
        report.figure("orders/s, embedded", spread.per_second());
        report.processor(&spread);
        report.ratio("orders/s ÷ TPC-B, embedded", Of::AtLeast(1.5), spread.per_second() / tpc_b);
        Ok(())
    }

    async fn footprint(&self, report: &mut Report) -> Result<()> {
        let seen = footprint::measure(self.clients, self.accounts, self.footprint_orders).await?;
        let orders = seen.orders;
        report.ratio("`ordermesh up`: MiB resident at rest", Of::AtMost(40.0), seen.idle);
        report.ratio(
            &format!("`ordermesh up`: MiB resident after {orders} orders"),
            Of::AtMost(150.0),
            seen.after,
        );
        for took in seen.start_empty {
            report.ratio("`ordermesh up`: ms to the first answer, no data", Of::AtMost(300.0), took);
        }
        for took in seen.start_full {
            report.ratio(
                &format!("`ordermesh up`: ms to the first answer, {orders} orders"),
                Of::AtMost(300.0),
                took,
            );
        }
        Ok(())
    }
}
