//! `ordermesh up`: everything in one process, built first and started then.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use auth::Who;
use axum::Router;
use chassis::{
    admin::{self, Hosts},
    clock::SystemClock,
    lifecycle::{Lifecycle, Stage},
    tls::ServerTls,
};
use orders::{Orders, explain::payments::Whom, reconciliation::side::Sided};
use payments::Payments;
use service::{Foundation, Wired, rest, wiring};
use storage::Database;
use tokio::net::TcpListener;

use crate::settings::{Config, Databases};

/// The mesh, every error found and every port taken; nothing runs yet.
#[derive(Debug)]
pub(crate) struct Mesh {
    orders: (Wired, TcpListener),
    payments: (Wired, TcpListener),
    edge: (gateway::Edge, TcpListener),
    admin: (TcpListener, ServerTls, Hosts),
    api: Router,
}

impl Mesh {
    /// Takes the ports, opens the databases, brings their schemas up to date and compiles the routes, for a process of this life.
    ///
    /// # Errors
    /// The first part that cannot be built.
    pub(crate) async fn build(config: Config, life: &Lifecycle) -> anyhow::Result<Self> {
        let orders_listener = listen(config.orders_grpc, "orders").await?;
        let payments_listener = listen(config.payments_grpc, "payments").await?;
        let edge_listener = listen(config.http, "HTTP").await?;
        let admin = listen(config.admin, "the operator").await?;
        let broker = config.mesh.broker.broker()?;
        let databases = config.databases;
        make_folder(&databases)?;
        config.mesh.auth.announce();
        tracing::info!(orders.database = %databases.orders, payments.database = %databases.payments, "starting");
        let clock = SystemClock::shared();
        let who = Who::of(&config.mesh.auth, config.mesh.admin_token.as_ref(), Arc::clone(&clock))?;
        let foundation = async |url| {
            let database = Database::connect(url, databases.limits).await?;
            let (broker, clock, mesh) = (Arc::clone(&broker), Arc::clone(&clock), config.mesh.clone());
            Ok::<_, anyhow::Error>(Foundation { database, broker, clock, mesh, who: who.clone() })
        };
        let of_payments = foundation(&databases.payments).await?;
        // The decisions of payments are compared in this process, without a token.
        let decisions: Sided =
            Arc::new(payments::decisions(of_payments.database.clone(), Arc::clone(&clock)));
        let payments = wiring::build(Payments, of_payments);
        let payments = payments.await.context("the payments service cannot start")?;
        // What payments knows of an order is asked in this process too.
        let asked = Whom { location: payments.operators()?.map(Into::into), ..Whom::default() };
        let orders = Orders { payments: asked, decisions: Some(decisions), ..config.orders };
        let orders = wiring::build(orders, foundation(&databases.orders).await?);
        let orders = orders.await.context("the orders service cannot start")?;
        // The edge calls the services in this process; the addresses that were taken are for others.
        let local = |service: &Wired, listener: &TcpListener| {
            let found_at = listener.local_addr()?.to_string();
            Ok::<_, anyhow::Error>(gateway::Local::new(service.calls()?).found_at(found_at))
        };
        // One issuer for all: its keys are read once.
        let issuer = if let Who::Issuer(issuer) = who { Some(issuer) } else { None };
        let services = (local(&orders, &orders_listener)?, local(&payments, &payments_listener)?);
        let edge = gateway::Edge::from_config(gateway::Config {
            upstreams: gateway::Config::builtin(services.0, services.1).upstreams,
            own_machine: config.mesh.auth.serves_own_machine(),
            issuer,
            jwks: config.jwks.map(Into::into),
            tls: config.mesh.tls.public.clone(),
            ..config.edge
        })?;
        let served = [(&orders, orders_listener.local_addr()?), (&payments, payments_listener.local_addr()?)];
        let api = rest::router(&served, life.stopping())?;
        Ok(Self {
            api,
            orders: (orders, orders_listener),
            payments: (payments, payments_listener),
            edge: (edge, edge_listener),
            admin: (admin, config.mesh.tls.admin, config.hosts),
        })
    }

    /// Where it listens: the name of each listener, and its address.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub(crate) fn addresses(&self) -> anyhow::Result<[(&'static str, SocketAddr); 4]> {
        Ok([
            ("http", self.edge.1.local_addr()?),
            ("orders-grpc", self.orders.1.local_addr()?),
            ("payments-grpc", self.payments.1.local_addr()?),
            ("admin", self.admin.0.local_addr()?),
        ])
    }

    /// Starts every part.
    pub(crate) fn spawn(self, life: &mut Lifecycle) {
        let (orders, orders_listener) = self.orders;
        let (payments, payments_listener) = self.payments;
        let (edge, edge_listener) = self.edge;
        let (payments, orders) =
            (payments.spawn(payments_listener, life), orders.spawn(orders_listener, life));
        let services = [(gateway::ORDERS, &orders), (gateway::PAYMENTS, &payments)];
        let services = services.map(|(name, readiness)| (name.to_owned(), readiness.clone()));
        let readiness = vec![payments, orders];
        edge.follow(readiness.clone(), services.into());
        let ((admin, tls, hosts), api) = (self.admin, self.api);
        life.spawn(Stage::Operator, "admin", |stop| admin::serve(admin, tls, hosts, readiness, api, stop));
        life.spawn(Stage::Edge, "edge", |stop| gateway::serve(edge_listener, edge, stop));
    }
}

async fn listen(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} for {what}"))
}

/// Makes the folder of the embedded databases.
pub(crate) fn make_folder(databases: &Databases) -> anyhow::Result<()> {
    let Some(folder) = &databases.data_dir else { return Ok(()) };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}
