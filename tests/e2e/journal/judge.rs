//! The judge of what clients have written down: it reads by the calls of clients, by SQL, and by `ordermesh check`.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use ordermesh::orders::v1::Order;
use world::eventually;

use super::{Grpc, Journal, Way};
use crate::{alone::number, check::check_at, mesh::Mesh};

const SERVICES: [&str; 2] = ["orders", "payments"];

/// What is asked, of both services by their names.
pub(crate) struct Judge {
    /// Where clients call.
    pub(crate) calls: Grpc,
    /// The URLs of the services.
    pub(crate) addresses: BTreeMap<&'static str, String>,
    /// The URLs of their databases.
    pub(crate) databases: BTreeMap<&'static str, String>,
    /// How long what is on its way may take.
    pub(crate) patience: Duration,
}

impl Judge {
    /// That of a mesh, which calls at its services.
    pub(crate) fn of(mesh: &Mesh, patience: Duration) -> Result<Self> {
        let addresses: BTreeMap<&str, String> =
            SERVICES.into_iter().zip([mesh.orders, mesh.payments].map(|at| format!("http://{at}"))).collect();
        let databases = SERVICES.map(|service| (service, mesh.database_url(service).to_owned())).into();
        let calls = Grpc::at(&addresses["orders"], &addresses["payments"])?;
        Ok(Self { calls, addresses, databases, patience })
    }

    /// Whether all that is in the journals is true.
    pub(crate) async fn believes(&self, journals: &mut [Journal]) -> Result<()> {
        let way = Way::Grpc(self.calls.clone());
        try_join_all(journals.iter_mut().map(|journal| journal.repeat(&way))).await?;
        self.at_rest().await?;
        for journal in journals.iter() {
            journal.is_true(self).await.with_context(|| journal.user.clone())?;
        }
        self.check().await
    }

    /// Waits until every order has ended and nothing is on its way.
    async fn at_rest(&self) -> Result<()> {
        eventually("the end of every order", self.patience, async || {
            let open = self.number("orders", "SELECT COUNT(*) FROM orders WHERE status = 1").await?;
            let mut waiting = 0;
            for service in SERVICES {
                waiting += self.number(service, "SELECT COUNT(*) FROM outbox").await?;
            }
            ensure!(open + waiting == 0, "{waiting} messages wait, and some orders are NEW: {open}");
            anyhow::Ok(())
        })
        .await
    }

    /// The books, read by `ordermesh check`, and that nothing is parked: all that is wrong with either.
    async fn check(&self) -> Result<()> {
        let at = |service: &str| self.addresses[service].clone();
        let (succeeded, broken) = check_at(at("orders"), at("payments")).await?;
        let mut wrong = Vec::new();
        if !succeeded {
            wrong.push(format!("ordermesh check: {broken:?} do not hold"));
        }
        for service in SERVICES {
            let parked = self.number(service, "SELECT COUNT(*) FROM parked").await?;
            if parked > 0 {
                wrong.push(format!("{service} has parked {parked} messages"));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(())
    }

    /// The request for the payment of an order has its id: payments remembers to have had it.
    pub(super) async fn are_remembered(&self, orders: impl Iterator<Item = &Order>) -> Result<()> {
        let ids: Vec<String> = orders.map(|order| format!("'{}'", order.id.replace('-', ""))).collect();
        let is_sqlite = self.databases["payments"].starts_with("sqlite:");
        let column = if is_sqlite { "lower(hex(message_id))" } else { "replace(message_id::text, '-', '')" };
        let sql = format!("SELECT COUNT(*) FROM inbox WHERE {column} IN ({})", ids.join(","));
        let remembered = if ids.is_empty() { 0 } else { self.number("payments", &sql).await? };
        let orders = ids.len();
        ensure!(usize::try_from(remembered)? == orders, "{remembered} of {orders} requests are remembered");
        Ok(())
    }

    /// One number out of the database of a service.
    async fn number(&self, service: &str, sql: &str) -> Result<i64> {
        number(&self.databases[service], sql).await
    }
}
