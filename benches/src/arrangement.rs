//! The arrangements that are measured, each on servers of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use world::{Postgres, Process, Program, RabbitMq, Scratch};

use crate::{callers::Callers, secured::Ground};

/// How the mesh is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Processes apart, PostgreSQL, RabbitMQ with quorum queues.
    Apart,
    /// The same, held to batches of one.
    OneByOne,
    /// Processes apart without their log: no arrangement of its own, but what the log is measured by.
    #[value(skip)]
    Silent,
    /// One process, SQLite, the in-process broker.
    Embedded,
}

/// A running mesh, and a PostgreSQL server for it or for the yardstick.
pub(crate) struct Stage {
    /// Who calls its edge.
    pub(crate) callers: Callers,
    pub(crate) orders: SocketAddr,
    /// With their names.
    pub(crate) processes: Vec<(&'static str, Process)>,
    postgres: Postgres,
    rabbitmq: Option<RabbitMq>,
    data: Scratch,
    /// What it stands on where it is secured, for as long as it runs.
    #[expect(dead_code, reason = "dropping it ends the issuer, and removes the certificates")]
    ground: Option<Ground>,
}

impl Stage {
    pub(crate) async fn set(kind: Kind) -> Result<Self> {
        Self::on(Scratch::new("bench")?, kind, &own_folder()?).await
    }

    /// The same with the binaries of another build, which are in this folder.
    pub(crate) async fn set_with(kind: Kind, binaries: &Path) -> Result<Self> {
        Self::on(Scratch::new("bench")?, kind, binaries).await
    }

    /// In one process, on a folder of one's own.
    pub(crate) async fn embedded_on(data: Scratch) -> Result<Self> {
        Self::on(data, Kind::Embedded, &own_folder()?).await
    }

    async fn on(data: Scratch, kind: Kind, binaries: &Path) -> Result<Self> {
        let postgres = Postgres::start().await?;
        let rabbitmq = if kind == Kind::Embedded { None } else { Some(RabbitMq::start().await?) };
        let mut processes = match &rabbitmq {
            Some(rabbitmq) => apart(&postgres, &rabbitmq.amqp_url(), kind, binaries).await?,
            None => vec![("ordermesh", embedded(binaries, data.path(), "127.0.0.1:0")?)],
        };
        let last = processes.len() - 1;
        let edge = processes[last].1.address("http").await?;
        let orders = processes[0].1.address("orders-grpc").await?;
        let callers = Callers::open(edge);
        Ok(Self { callers, orders, processes, postgres, rabbitmq, data, ground: None })
    }

    /// Processes apart with TLS and certificates at both ends of every arrow, and so many users with tokens.
    pub(crate) async fn secured(users: usize) -> Result<Self> {
        let binaries = own_folder()?;
        let ground = Ground::new(&binaries).await?;
        let (postgres, rabbitmq) = ground.servers().await?;
        let (mut processes, mut urls) = (Vec::new(), Vec::new());
        for service in ["orders", "payments"] {
            let program = binary(&binaries, service);
            let mut process = ground.service(service, program, &postgres, &rabbitmq)?.start()?;
            urls.push(process.address(&format!("{service}-grpc")).await?);
            processes.push((service, process));
        }
        let mut gateway = ground.gateway(binary(&binaries, "gateway"), urls[0], urls[1]).start()?;
        let edge = gateway.address("http").await?;
        processes.push(("gateway", gateway));
        let callers = ground.callers(edge, users).await?;
        let data = Scratch::new("bench")?;
        let (orders, rabbitmq, ground) = (urls[0], Some(rabbitmq), Some(ground));
        Ok(Self { callers, orders, processes, postgres, rabbitmq, data, ground })
    }

    pub(crate) const fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// Where it keeps its data, when it is in one process.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// To stop it and to start it again.
    pub(crate) fn rabbitmq(&mut self) -> Result<&mut RabbitMq> {
        self.rabbitmq.as_mut().context("embedded: there is no RabbitMQ")
    }

    pub(crate) fn amqp_url(&self) -> Result<String> {
        Ok(self.rabbitmq.as_ref().context("embedded: there is no RabbitMQ")?.amqp_url())
    }
}

/// `ordermesh up` on a folder.
pub(crate) fn embedded(binaries: &Path, data: &Path, http: &str) -> Result<Process> {
    binary(binaries, "ordermesh")
        .args(["up", "--http", http, "--orders-grpc", "127.0.0.1:0"])
        .args(["--payments-grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--data-dir".to_owned(), data.display().to_string()])
        .start()
}

async fn apart(
    postgres: &Postgres,
    amqp_url: &str,
    kind: Kind,
    binaries: &Path,
) -> Result<Vec<(&'static str, Process)>> {
    let mut processes = Vec::new();
    let part = |name| {
        let program = binary(binaries, name);
        if kind == Kind::Silent { program.env("LOG_FILTER", "off") } else { program }
    };
    for service in ["orders", "payments"] {
        postgres.create_database(service).await?;
        let mut program = part(service)
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("DATABASE_URL", postgres.url(service))
            .env("AMQP_URL", amqp_url);
        if kind == Kind::OneByOne {
            program = program.args(["--max-batch", "1"]);
        }
        processes.push((service, program.start()?));
    }
    let orders = processes[0].1.address("orders-grpc").await?;
    let payments = processes[1].1.address("payments-grpc").await?;
    let gateway = part("gateway")
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--orders-url".to_owned(), format!("http://{orders}")])
        .args(["--payments-url".to_owned(), format!("http://{payments}")]);
    processes.push(("gateway", gateway.start()?));
    Ok(processes)
}

/// The folder of this binary, which was built together with the others.
pub(crate) fn own_folder() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    Ok(here.parent().context("a file has a folder")?.to_owned())
}

/// A binary of a build. Its logs are those of production.
fn binary(binaries: &Path, name: &str) -> Program {
    Program::at(&binaries.join(name)).env("LOG_FORMAT", "json")
}
