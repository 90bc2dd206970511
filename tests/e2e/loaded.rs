//! Both services under the load of clients that write down what they call, while something that they rest on is broken, and the judge.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use ordermesh::orders::v1::{GetOrderRequest, order};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use world::{PATIENCE, Postgres, Process, Program, eventually};

use crate::{
    alone::{Orders, number, place, program},
    journal::{Grpc, Journal, Judge, Way},
    mesh::ADMIN_TOKEN,
};

const CLIENTS: usize = 4;
/// So many orders of the clients say that they call.
const LOAD: i64 = 20;
/// How long what is on its way may take once all is well: a relay that was killed keeps its lease for 12 s.
const REST: Duration = Duration::from_secs(60);

/// Both services, as one process or as two.
pub(crate) struct Loaded {
    /// Each with the services that it serves.
    programs: Vec<(Program, Vec<&'static str>)>,
    processes: Vec<Process>,
    addresses: BTreeMap<&'static str, String>,
    databases: BTreeMap<&'static str, String>,
    journals: Vec<Journal>,
}

impl Loaded {
    /// In one process, on SQLite in this folder.
    pub(crate) async fn embedded(folder: &Path) -> Result<Self> {
        let url = |service| (service, format!("sqlite:{}/{service}.db", folder.display()));
        let databases = BTreeMap::from([url("orders"), url("payments")]);
        let program = Program::named("ordermesh")?
            .args(["up", "--http", "127.0.0.1:0", "--orders-grpc", "127.0.0.1:0"])
            .args(["--payments-grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("ORDERS_DATABASE_URL", &databases["orders"])
            .env("PAYMENTS_DATABASE_URL", &databases["payments"]);
        Self::of(vec![(program, vec!["orders", "payments"])], databases).await
    }

    /// As two processes, on databases of this server and on this broker.
    pub(crate) async fn apart(postgres: &Postgres, amqp_url: &str) -> Result<Self> {
        let (mut programs, mut databases) = (Vec::new(), BTreeMap::new());
        for service in ["payments", "orders"] {
            let url = postgres.fresh_database().await?;
            programs.push((program(service, &url, amqp_url)?, vec![service]));
            databases.insert(service, url);
        }
        Self::of(programs, databases).await
    }

    async fn of(
        programs: Vec<(Program, Vec<&'static str>)>,
        databases: BTreeMap<&'static str, String>,
    ) -> Result<Self> {
        let journals = (0..CLIENTS).map(|client| Journal::of(format!("user-{client}"))).collect();
        let (processes, addresses) = (Vec::new(), BTreeMap::new());
        let mut this = Self { programs, processes, addresses, databases, journals };
        this.start().await?;
        Ok(this)
    }

    async fn start(&mut self) -> Result<()> {
        for (program, services) in &self.programs {
            let mut process = program.clone().env("ADMIN_TOKEN", ADMIN_TOKEN).start()?;
            for service in services.iter().copied() {
                let address = process.address(&format!("{service}-grpc")).await?;
                self.addresses.insert(service, format!("http://{address}"));
            }
            self.processes.push(process);
        }
        Ok(())
    }

    /// Ends every process as a crash would.
    pub(crate) async fn crash(&mut self) -> Result<()> {
        for mut process in self.processes.drain(..) {
            if let Ok(status) = process.wait(Duration::ZERO).await {
                bail!("a process has ended by itself with {status}\n{}", process.output());
            }
            process.kill9().await?;
        }
        Ok(())
    }

    /// Who looks on while faults strike.
    pub(crate) fn witness(&self) -> Result<Witness> {
        Ok(Witness { orders: self.calls()?.orders, database: self.databases["orders"].clone() })
    }

    fn calls(&self) -> Result<Grpc> {
        Grpc::at(&self.addresses["orders"], &self.addresses["payments"])
    }

    /// Clients call until the faults are over.
    pub(crate) async fn during(&mut self, faults: impl Future<Output = Result<()>>) -> Result<()> {
        let (way, enough) = (Way::Grpc(self.calls()?), CancellationToken::new());
        let calling = self.journals.iter_mut().map(|journal| journal.keep_on(&way, &enough));
        let faults = async {
            faults.await?;
            enough.cancel();
            anyhow::Ok(())
        };
        tokio::try_join!(faults, try_join_all(calling))?;
        Ok(())
    }

    /// All that is in the journals is true, as they are after this.
    pub(crate) async fn judged(&mut self, when: &str) -> Result<()> {
        let (addresses, databases) = (self.addresses.clone(), self.databases.clone());
        let judge = Judge { calls: self.calls()?, addresses, databases, patience: REST };
        judge.believes(&mut self.journals).await.with_context(|| when.to_owned())
    }

    /// And it is after a crash of every process.
    pub(crate) async fn judged_twice(&mut self) -> Result<()> {
        self.judged("at the end").await?;
        self.crash().await?;
        self.start_and_judge().await
    }

    /// What it rests on was started again.
    pub(crate) async fn start_and_judge(&mut self) -> Result<()> {
        self.start().await?;
        self.judged("after a restart").await
    }
}

/// One who is in no journal, has no account, and looks on.
pub(crate) struct Witness {
    orders: Orders,
    database: String,
}

impl Witness {
    /// Waits until the clients have placed some more orders.
    pub(crate) async fn sees_load(&self) -> Result<()> {
        let before = eventually("the orders to be counted", PATIENCE, async || self.placed().await).await?;
        eventually("clients to place orders", 2 * PATIENCE, async || {
            let new = self.placed().await? - before;
            ensure!(new >= LOAD, "{new} orders were placed");
            Ok(())
        })
        .await
    }

    async fn placed(&self) -> Result<i64> {
        number(&self.database, "SELECT COUNT(*) FROM orders").await
    }

    /// Waits until an order is refused because nothing can be stored.
    pub(crate) async fn is_refused(&self) -> Result<()> {
        eventually("an order to be refused", PATIENCE, async || {
            let refused = place(&mut self.orders.clone(), "witness").await.err().context("it was taken")?;
            let code = refused.downcast_ref::<tonic::Status>().map(tonic::Status::code);
            ensure!(matches!(code, Some(Code::Unavailable | Code::Unknown)), "{refused:#}");
            Ok(())
        })
        .await
    }

    /// Places an order, as soon as that succeeds, and returns how long it took to end from now on.
    pub(crate) async fn order_ends(&self, within: Duration) -> Result<Duration> {
        let begun = Instant::now();
        let placed = eventually("an order to be taken", within, async || {
            place(&mut self.orders.clone(), "witness").await
        });
        let id = placed.await?;
        let left = within.saturating_sub(begun.elapsed());
        eventually("the order to end", left, async || {
            let find = GetOrderRequest { order_id: id.clone() };
            let order = self.orders.clone().get_order(find).await?.into_inner();
            ensure!(order.status() != order::Status::New, "it is NEW");
            Ok(())
        })
        .await?;
        Ok(begun.elapsed())
    }
}
