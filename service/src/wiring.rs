//! The parts of a service, connected: its contract to the listener, its groups to their writers, its outbox to a relay, and its reactions to
//! consumers. Nothing runs before [`Wired::spawn`].

mod wired;

use std::{borrow::Cow, collections::BTreeSet, convert::Infallible, fmt, sync::Arc};

use anyhow::ensure;
use auth::{Guard, Rules, Who};
use chassis::{clock::Clock, lifecycle::Stage, secret::SecretString, tls::ServerTls, version};
use futures_util::FutureExt as _;
use http::{Request, Response};
use messaging::{
    broker::Broker,
    consumer::{Consumer, Deduplication, Handler, Operated},
    health::Health,
    outbox::Outbox,
    parked::Park,
    processes::Process,
    relay::Relay,
    retention::Retention,
    topology::{Subscription, Topology},
};
use ordermesh::{
    audit::v1::audit_service_server::AuditServiceServer,
    messaging::v1::messaging_admin_service_server::MessagingAdminServiceServer,
};
use storage::{
    Database,
    group::{Batch, GroupCommit},
};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, codec::CompressionEncoding, server::NamedService, service::Routes};
use tower::Service as Server;

use self::wired::Task;
pub use self::wired::Wired;
use crate::{
    Service,
    admin::{MessagingAdmin, Payloads},
    audit::Audit,
    grpc::Contract,
    page::PageTokens,
    pauses::PausesAdmin,
    settings::MeshConfig,
    whereabouts::Whereabouts,
};

/// What a service stands on.
#[derive(Debug, Clone)]
pub struct Foundation {
    /// Its own database.
    pub database: Database,
    /// The broker that it shares with the others.
    pub broker: Arc<dyn Broker>,
    /// Where it takes its time and its ids from.
    pub clock: Arc<dyn Clock>,
    /// What it has like the others.
    pub mesh: MeshConfig,
    /// Who says who is calling.
    pub who: Who,
}

/// Brings the schema up to date and connects every part; nothing is served or consumed yet.
///
/// # Errors
/// When a method has no rule, the database cannot be migrated, or a part not be built.
pub async fn build<S: Service>(service: S, foundation: Foundation) -> anyhow::Result<Wired> {
    build_by(Rules::of(S::DESCRIPTOR_SETS)?, service, foundation).await
}

/// The same, by other rules than those of its contract.
///
/// # Errors
/// As [`build`].
pub async fn build_by<S: Service>(rules: Rules, service: S, foundation: Foundation) -> anyhow::Result<Wired> {
    foundation.database.migrate::<S::Migrations>().await?;
    let pages = PageTokens::of(&foundation.database).await?;
    let partitions = foundation.mesh.broker.partitions;
    let mut wiring = Wiring {
        pauses: PausesAdmin::new(&foundation.database, partitions),
        process: Process::this(&foundation.database, version::VERSION, version::BUILD),
        database: foundation.database,
        clock: foundation.clock,
        default_currency: foundation.mesh.default_currency,
        admin_token: foundation.mesh.admin_token,
        outbox: Outbox::new(),
        pages,
        name: S::NAME,
        broker: foundation.broker,
        partitions,
        park: foundation.mesh.broker.park,
        guard: Arc::new(Guard::new(rules, foundation.who)),
        tls: foundation.mesh.tls.public,
        health: Health::new(),
        routes: Routes::default(),
        operators: Routes::default(),
        services: BTreeSet::new(),
        movements: None,
        consumers: Vec::new(),
        tasks: Vec::new(),
    };
    service.wire(&mut wiring).await?;
    wiring.finish(S::DESCRIPTOR_SETS)
}

/// What the parts of a service are built with, and where they are added.
pub struct Wiring {
    /// Its own database.
    pub database: Database,
    /// Where it takes its time and its ids from.
    pub clock: Arc<dyn Clock>,
    /// ISO 4217: what an empty `currency_code` means.
    pub default_currency: String,
    /// Where there is no issuer: by which an operator is known, here and at the other services.
    pub admin_token: Option<SecretString>,
    /// Its way into its outbox.
    pub outbox: Outbox,
    /// The tokens of its lists.
    pub pages: PageTokens,
    name: &'static str,
    broker: Arc<dyn Broker>,
    partitions: u16,
    park: Park,
    pauses: PausesAdmin,
    process: Process,
    guard: Arc<Guard>,
    tls: ServerTls,
    health: Health,
    routes: Routes,
    /// Those of them that are for operators.
    operators: Routes,
    services: BTreeSet<String>,
    movements: Option<&'static str>,
    consumers: Vec<Operated>,
    tasks: Vec<Task>,
}

impl Wiring {
    /// Serves a gRPC service, each method of it by its rule. Handlers find in the extensions of a request whose data it may touch
    /// ([`auth::Access`]).
    pub fn serve<S>(&mut self, server: S)
    where
        S: Server<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.services.insert(S::NAME.to_owned());
        self.routes = std::mem::take(&mut self.routes).add_service(server);
    }

    /// Serves a gRPC service for operators, if anybody can be one.
    pub fn serve_admin<S>(&mut self, server: S)
    where
        S: Server<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send + 'static>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        if self.guard.knows_operators() {
            self.operators = std::mem::take(&mut self.operators).add_service(server.clone());
            self.serve(server);
        }
    }

    /// Where the service's messages are.
    #[must_use]
    pub fn whereabouts(&self) -> Whereabouts {
        let topology = Topology::new(ordermesh::EVENTS_EXCHANGE, self.partitions, []);
        let (database, health) = (self.database.clone(), self.health.clone());
        Whereabouts { database, health, topology, name: self.name, process: self.process.id.clone() }
    }

    /// Adds movements of money to the list of who did what; see [`Audit::movements`].
    pub fn audit(&mut self, movements: &'static str) {
        self.movements = Some(movements);
    }

    /// The way to the writer of one kind of write, which is the task `name`. It ends when no call can reach it any more.
    pub fn group<B: Batch>(&mut self, name: &'static str, batch: B) -> GroupCommit<B> {
        let (group, writer) = GroupCommit::new(self.database.clone(), batch);
        self.run(Stage::Writers, name, |_stop| writer.map(Ok));
        group
    }

    /// Consumes the messages of a subscription. What an inbox remembers is forgotten after a time.
    pub fn consume(
        &mut self,
        subscription: Subscription,
        deduplication: Deduplication,
        reaction: impl Handler,
    ) {
        let database = self.database.clone();
        if deduplication != Deduplication::Handler {
            let retention = Retention::new(database.clone());
            self.run(Stage::Last, format!("{} retention", self.name), |stop| retention.run(stop).map(Ok));
        }
        let broker = Arc::clone(&self.broker);
        self.pauses.consumers.push(subscription.clone());
        let consumer =
            Consumer::new(database, broker, self.partitions, subscription, deduplication, reaction);
        let consumer =
            consumer.with_health(&self.health).with_park(self.park).with_pauses(&self.pauses.pauses);
        self.consumers.push(consumer.operated());
        self.run(Stage::Last, format!("{} consumer", self.name), |stop| consumer.run(stop).map(Ok));
    }

    /// Runs a task until its stage is asked to stop.
    pub fn run<F>(
        &mut self,
        stage: Stage,
        name: impl Into<Cow<'static, str>>,
        task: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.tasks.push(Task { stage, name: name.into(), run: Box::new(|stop| task(stop).boxed()) });
    }

    /// Adds what every service has: the admin services of its messages and pauses, the list of who did what, and a relay.
    fn finish(mut self, descriptor_sets: &'static [&'static [u8]]) -> anyhow::Result<Wired> {
        let (database, health) = (self.database.clone(), self.health.clone());
        let admin = MessagingAdmin {
            database: database.clone(),
            pages: self.pages.clone(),
            whereabouts: self.whereabouts(),
            consumers: std::mem::take(&mut self.consumers),
            payloads: Payloads::of(descriptor_sets)?,
            process: self.process.clone(),
        };
        let audit =
            Audit { database: database.clone(), pages: self.pages.clone(), movements: self.movements };
        let pauses = self.pauses.clone();
        let gzip = CompressionEncoding::Gzip;
        self.serve_admin(MessagingAdminServiceServer::new(admin).accept_compressed(gzip));
        self.serve_admin(pauses.server());
        self.serve_admin(AuditServiceServer::new(audit).accept_compressed(gzip));
        self.run(Stage::Last, format!("{} pauses", self.name), |stop| pauses.follow(stop).map(Ok));
        let (process, own, parts) = (self.process.clone(), database.clone(), health.clone());
        self.run(Stage::Last, format!("{} process", self.name), |stop| {
            process.keep(own, parts, stop).map(Ok)
        });
        let source = format!("/ordermesh/{}", self.name);
        let relay = Relay::new(database.clone(), self.outbox, self.broker, source);
        let relay = relay.with_health(&health).with_pauses(&self.pauses.pauses).with_process(&self.process);
        let operators = self.guard.knows_operators().then_some(self.operators);
        let Self { name, routes, services, tasks, guard, tls, .. } = self;
        let unruled = guard.unruled(&services);
        ensure!(unruled.is_empty(), "the descriptors of {name} have no rules for {unruled:?}");
        let contract = Contract { name, routes, descriptor_sets, services, guard, tls };
        Ok(Wired { contract, operators, tasks, relay, database, health })
    }
}

impl fmt::Debug for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wiring").field("name", &self.name).finish_non_exhaustive()
    }
}
