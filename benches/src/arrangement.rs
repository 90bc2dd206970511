//! The two arrangements that are measured, each on servers of its own.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use world::{Postgres, Process, Program, RabbitMq, Scratch};

/// How the mesh is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Processes apart, PostgreSQL, RabbitMQ with quorum queues.
    Apart,
    /// One process, SQLite, the in-process broker.
    Embedded,
}

/// A running mesh, and a PostgreSQL server beside it for the yardstick.
pub(crate) struct Stage {
    pub(crate) edge: SocketAddr,
    pub(crate) orders: SocketAddr,
    pub(crate) payments: SocketAddr,
    /// With their names.
    pub(crate) processes: Vec<(&'static str, Process)>,
    postgres: Postgres,
    _rabbitmq: Option<RabbitMq>,
    _data: Scratch,
}

impl Stage {
    pub(crate) async fn set(kind: Kind) -> Result<Self> {
        let data = Scratch::new("bench")?;
        let postgres = Postgres::start().await?;
        let rabbitmq = if kind == Kind::Apart { Some(RabbitMq::start().await?) } else { None };
        let mut processes = match &rabbitmq {
            Some(rabbitmq) => apart(&postgres, &rabbitmq.amqp_url()).await?,
            None => {
                let up = binary("ordermesh")?
                    .args(["up", "--http", "127.0.0.1:0", "--orders-grpc", "127.0.0.1:0"])
                    .args(["--payments-grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
                    .args(["--data-dir".to_owned(), data.path().display().to_string()])
                    .env("LOG_FILTER", "warn");
                vec![("ordermesh", up.start()?)]
            }
        };
        let last = processes.len() - 1;
        let edge = processes[last].1.address("http").await?;
        let orders = processes[0].1.address("orders-grpc").await?;
        let payments = processes[usize::from(last > 0)].1.address("payments-grpc").await?;
        Ok(Self { edge, orders, payments, processes, postgres, _rabbitmq: rabbitmq, _data: data })
    }

    pub(crate) const fn postgres(&self) -> &Postgres {
        &self.postgres
    }
}

async fn apart(postgres: &Postgres, amqp_url: &str) -> Result<Vec<(&'static str, Process)>> {
    let mut processes = Vec::new();
    for service in ["orders", "payments"] {
        postgres.create_database(service).await?;
        let program = binary(service)?
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("DATABASE_URL", postgres.url(service))
            .env("AMQP_URL", amqp_url)
            .env("LOG_FILTER", "warn");
        processes.push((service, program.start()?));
    }
    let orders = processes[0].1.address("orders-grpc").await?;
    let payments = processes[1].1.address("payments-grpc").await?;
    let gateway = binary("gateway")?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--orders-url".to_owned(), format!("http://{orders}")])
        .args(["--payments-url".to_owned(), format!("http://{payments}")])
        .env("LOG_FILTER", "warn");
    processes.push(("gateway", gateway.start()?));
    Ok(processes)
}

/// One of our binaries, which lies beside this one.
fn binary(name: &str) -> Result<Program> {
    let here = std::env::current_exe()?;
    Ok(Program::at(&here.parent().context("a file has a folder")?.join(name)))
}
