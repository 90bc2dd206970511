//! The same job done with other libraries (`benches/peers`), on the same servers and under the same load.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use world::{Postgres, Process, Program, RabbitMq};

use crate::{
    callers::Callers,
    load::{self, Until},
};

/// An interpreter that has to compile its libraries first.
const START: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(600);

/// A system beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Peer {
    /// npm `pg-transactional-outbox` with `amqplib`.
    Node,
    /// PyPI `faststream` with an outbox of SQLAlchemy.
    Python,
}

impl Peer {
    /// Orders per second, spread over all accounts, from the first POST until no order is NEW.
    pub(crate) async fn measure(self, clients: usize, accounts: usize, time: Duration) -> Result<f64> {
        let (postgres, rabbitmq) = (Postgres::start().await?, RabbitMq::start().await?);
        let start = async |service: &str| {
            postgres.create_database(service).await?;
            let program = self.program(service)?;
            program.env("DATABASE_URL", postgres.url(service)).env("AMQP_URL", rabbitmq.amqp_url()).start()
        };
        let _payments = ready(start("payments").await?, "ready payments=").await?;
        let mut orders = ready(start("orders").await?, "listening http=").await?;
        let callers = Callers::open(orders.address("http").await?);
        let began = Instant::now();
        let placed = load::place_until(&callers, clients, accounts, Until::Time(time)).await?;
        load::drained(&callers, DRAIN).await?;
        Ok(placed as f64 / began.elapsed().as_secs_f64())
    }

    /// `scripts/setup-peers` installs what they need.
    fn program(self, service: &str) -> Result<Program> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("benches is in a folder")?;
        let tools = repository.join("target/tools/peers");
        ensure!(tools.is_dir(), "{} is missing: run scripts/setup-peers first", tools.display());
        let (interpreter, script): (PathBuf, PathBuf) = match self {
            Self::Node => ("/usr/bin/env".into(), tools.join(format!("node/{service}.mjs"))),
            Self::Python => {
                let script = repository.join(format!("benches/peers/python/{service}.py"));
                (tools.join("python/bin/python"), script)
            }
        };
        let script = script.display().to_string();
        let arguments = if self == Self::Node { vec!["node".to_owned(), script] } else { vec![script] };
        Ok(Program::at(&interpreter).args(arguments).env("PORT", "0").env("ACCOUNTS", "10000"))
    }
}

async fn ready(mut process: Process, line: &str) -> Result<Process> {
    process.line_within(line, START).await?;
    Ok(process)
}
