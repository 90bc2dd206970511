//! Where the cells of the matrix run: a mesh whose processes end at a station and are started again.

use std::{
    collections::BTreeMap, os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use world::{PATIENCE, Postgres, Process, Program, RabbitMq, Scratch};

use crate::{
    alone::{number, program, run},
    journal::{Grpc, Judge},
    mesh::ADMIN_TOKEN,
};

/// All of the mesh in one process.
pub(super) const MESH: &str = "mesh";
pub(super) const ORDERS: &str = "orders";
pub(super) const PAYMENTS: &str = "payments";

/// A mesh without an edge, in one process on SQLite, or as two on PostgreSQL and RabbitMQ.
pub(super) struct Site {
    processes: BTreeMap<&'static str, Process>,
    databases: BTreeMap<&'static str, String>,
    addresses: BTreeMap<&'static str, String>,
    servers: Option<(Postgres, RabbitMq)>,
    scratch: Scratch,
    renewed: usize,
}

impl Site {
    /// In one process, which does not run yet.
    pub(super) async fn embedded() -> Result<Self> {
        Self::on(None).await
    }

    /// As two processes, which do not run yet.
    pub(super) async fn on_servers() -> Result<Self> {
        Self::on(Some((Postgres::start().await?, RabbitMq::shared().await?))).await
    }

    async fn on(servers: Option<(Postgres, RabbitMq)>) -> Result<Self> {
        let (processes, scratch) = (BTreeMap::new(), Scratch::new("site")?);
        let (databases, addresses) = (BTreeMap::new(), BTreeMap::new());
        let mut site = Self { processes, databases, addresses, servers, scratch, renewed: 0 };
        site.renew().await?;
        Ok(site)
    }

    /// Ends every process, and gives them empty databases.
    pub(super) async fn renew(&mut self) -> Result<()> {
        self.processes.clear();
        self.renewed += 1;
        for service in [ORDERS, PAYMENTS] {
            let url = match &self.servers {
                Some((postgres, _)) => postgres.fresh_database().await?,
                None => format!("sqlite:{}/{service}-{}.db", self.scratch.path().display(), self.renewed),
            };
            self.databases.insert(service, url);
        }
        Ok(())
    }

    /// Starts the processes that do not run, but for this one.
    pub(super) async fn start_all_but(&mut self, but: &str) -> Result<()> {
        let all: &[&str] = if self.servers.is_some() { &[ORDERS, PAYMENTS] } else { &[MESH] };
        for name in all.iter().copied().filter(|name| *name != but) {
            if !self.processes.contains_key(name) {
                self.start(name, "").await?;
            }
        }
        Ok(())
    }

    /// Ends a process, if it runs, and starts it with these stations and bugs. It may end before it serves.
    pub(super) async fn start(&mut self, name: &'static str, failpoints: &str) -> Result<()> {
        if let Some(mut before) = self.processes.remove(name) {
            before.kill9().await?;
        }
        if self.servers.is_some() {
            self.let_lease_pass(name).await?;
        }
        let mut process = self.program(name)?.env("FAILPOINTS", failpoints).start()?;
        let services: &[&'static str] = if name == MESH { &[ORDERS, PAYMENTS] } else { &[name] };
        for service in services.iter().copied() {
            let address = process.address(&format!("{service}-grpc")).await;
            match address {
                Ok(address) => drop(self.addresses.insert(service, format!("http://{address}"))),
                Err(_) if !failpoints.is_empty() && process.wait(Duration::ZERO).await.is_ok() => break,
                Err(error) => return Err(error),
            }
        }
        self.processes.insert(name, process);
        Ok(())
    }

    fn program(&self, name: &'static str) -> Result<Program> {
        let Some((_, rabbitmq)) = &self.servers else {
            let program = Program::named("ordermesh")?
                .args(["up", "--http", "127.0.0.1:0", "--orders-grpc", "127.0.0.1:0"])
                .args(["--payments-grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
                .env("ORDERS_DATABASE_URL", &self.databases[ORDERS])
                .env("PAYMENTS_DATABASE_URL", &self.databases[PAYMENTS]);
            return Ok(program.env("ADMIN_TOKEN", ADMIN_TOKEN));
        };
        let program = program(name, &self.databases[name], &rabbitmq.amqp_url())?;
        Ok(program.env("ADMIN_TOKEN", ADMIN_TOKEN))
    }

    /// A relay that has died keeps its lease for 12 s, which others wait for: messaging/tests/delivery/leases.rs has that. Here they are over.
    async fn let_lease_pass(&self, service: &str) -> Result<()> {
        let url = &self.databases[service];
        if number(url, "SELECT COUNT(*) FROM pg_tables WHERE tablename = 'leases'").await? > 0 {
            run(url, "UPDATE leases SET expire_time = 0").await?;
        }
        Ok(())
    }

    /// Waits until a process has ended by itself at a station.
    pub(super) async fn crashed(&mut self, name: &'static str) -> Result<()> {
        let (status, output) = self.ended(name).await?;
        ensure!(status.signal() == Some(Signal::SIGABRT as i32), "{status}\n{output}");
        Ok(())
    }

    /// Waits until a process has ended by itself: how, and what it has written.
    pub(super) async fn ended(&mut self, name: &'static str) -> Result<(ExitStatus, String)> {
        let mut process = self.processes.remove(name).context("it was started")?;
        let status = process
            .wait(PATIENCE)
            .await
            .context("the station was not reached; was the binary built with --all-targets?")?;
        Ok((status, process.output()))
    }

    /// Clients of where services serve, or have served when they do no longer.
    pub(super) fn calls(&self) -> Result<Grpc> {
        let at = |service: &str| self.addresses.get(service).map_or("http://127.0.0.1:1", String::as_str);
        Grpc::at(at(ORDERS), at(PAYMENTS))
    }

    /// Who judges what clients have written down, and how long that waits for what is on its way.
    pub(super) fn judge(&self, patience: Duration) -> Result<Judge> {
        let (addresses, databases) = (self.addresses.clone(), self.databases.clone());
        Ok(Judge { calls: self.calls()?, addresses, databases, patience })
    }
}
