//! The orders service: orders are placed and read here, and end by what payments decides.
//!
//! It is asked through [`grpc`], which calls [`commands`]; it is told through [`reactions`]; both decide by [`domain`] and
//! write through [`store`].

pub mod settings;
pub mod grpc;
pub mod commands;
pub mod reactions;
pub mod expiry;
pub mod feed;
pub mod messages;
pub mod domain;
pub mod store;

use std::{fmt, sync::Arc, time::Duration};

use chassis::{
    clock::Clock,
    lifecycle::{Lifecycle, Stage},
    readiness::Readiness,
    secret::SecretString,
};
use futures_util::future::BoxFuture;
use messaging::{
    broker::Broker,
    consumer::{Consumer, Deduplication},
    health::Health,
    outbox::Outbox,
    relay::Relay,
};
use ordermesh::{
    messaging::v1::messaging_admin_service_server::{self, MessagingAdminServiceServer},
    orders::v1::orders_service_server::{OrdersServiceServer, SERVICE_NAME},
};
use service::{admin::MessagingAdmin, bearer::Bearer, grpc::Contract, page::PageTokens};
use storage::{CannotMigrate, Database, group::GroupCommit};
use tokio::net::TcpListener;
use tonic::{
    codec::CompressionEncoding,
    service::{Routes, interceptor::InterceptedService},
};

use crate::{
    commands::{cancel_order::CancelOrder, create_order::CreateOrder},
    expiry::Expiry,
    feed::Feed,
    reactions::settle_orders::{self, SettleOrders},
};

/// Brings the schema of the service's database up to date, as [`Service::build`] does: for a role that may, when the service's own may not.
///
/// # Errors
/// As [`Database::migrate`].
pub async fn migrate(database: &Database) -> Result<(), CannotMigrate> {
    database.migrate::<store::schema::Migrations>().await
}

/// What the service stands on.
#[derive(Debug)]
pub struct Foundation {
    /// Its own database.
    pub database: Database,
    /// The broker that it shares with the others.
    pub broker: Arc<dyn Broker>,
    /// Queues per consumer, at least 1.
    pub partitions: u16,
    /// Where it takes its time and its ids from.
    pub clock: Arc<dyn Clock>,
    /// ISO 4217: what an empty `currency_code` means.
    pub default_currency: String,
    /// Who has it may call the admin services; they are not served when there is none.
    pub admin_token: Option<SecretString>,
    /// When an undecided payment is given up, after the order was placed.
    pub order_ttl: Duration,
}

/// The service, ready to run.
pub struct Service {
    contract: Contract,
    writer: BoxFuture<'static, ()>,
    relay: Relay,
    consumer: Consumer,
    expiry: Expiry,
    feed: Feed,
    database: Database,
    health: Health,
}

impl Service {
    /// Brings the schema up to date and builds every part; nothing is served or consumed yet.
    ///
    /// # Errors
    /// When the database cannot be migrated, or the contract not be served.
    pub async fn build(foundation: Foundation) -> anyhow::Result<Self> {
        let Foundation { database, broker, partitions, clock, default_currency, admin_token, order_ttl } =
            foundation;
        migrate(&database).await?;
        let outbox = Outbox::new();
        let feed = Feed::new(database.clone()).await?;
        let create_order = CreateOrder { outbox: outbox.clone() };
        let cancel_order = CancelOrder {
            database: database.clone(),
            outbox: outbox.clone(),
            feed: feed.clone(),
            clock: Arc::clone(&clock),
        };
        let expiry = Expiry { database: database.clone(), outbox: outbox.clone(), clock: Arc::clone(&clock) };
        let (create_order, writer) = GroupCommit::new(database.clone(), create_order);
        let grpc = grpc::Grpc {
            database: database.clone(),
            clock: Arc::clone(&clock),
            default_currency,
            order_ttl,
            pages: PageTokens::of(&database).await?,
            create_order,
            cancel_order,
            feed: feed.clone(),
        };
        let health = Health::new();
        let contract = contract(grpc, health.clone(), admin_token);
        let consumer = Consumer::new(
            database.clone(),
            Arc::clone(&broker),
            partitions,
            settle_orders::subscription(),
            Deduplication::Handler,
            SettleOrders { feed: feed.clone(), clock },
        )
        .with_health(&health);
        let relay = Relay::new(database.clone(), outbox, broker, "/ordermesh/orders").with_health(&health);
        Ok(Self { contract, writer: Box::pin(writer), relay, consumer, expiry, feed, database, health })
    }

    /// Starts serving, relaying and consuming, until the lifecycle's stop.
    pub fn spawn(self, listener: TcpListener, life: &mut Lifecycle) -> Readiness {
        let readiness =
            Readiness::start(service::readiness::parts("orders", &self.database, &self.health), life);
        let Self { contract, writer, relay, consumer, expiry, feed, .. } = self;
        let follows = readiness.clone();
        life.spawn(Stage::Services, "orders grpc", |stop| {
            service::grpc::serve(listener, contract, follows, stop)
        });
        // It ends when no call can reach it any more.
        life.spawn(Stage::Writers, "orders writer", |_stop| async move {
            writer.await;
            Ok(())
        });
        life.spawn(Stage::Services, "orders feed", |stop| feed.run(stop));
        life.spawn(Stage::Services, "orders expiry", |stop| async move {
            expiry.run(stop).await;
            Ok(())
        });
        let relay = relay.with_hurry(life.hurrying());
        life.spawn(Stage::Relays, "orders relay", |stop| async move {
            relay.run(stop).await;
            Ok(())
        });
        life.spawn(Stage::Last, "orders consumer", |stop| async move {
            consumer.run(stop).await;
            Ok(())
        });
        readiness
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("orders::Service")
    }
}

/// The contract, and beside it the admin services when there is a token for them.
fn contract(grpc: grpc::Grpc, health: Health, admin_token: Option<SecretString>) -> Contract {
    let admin = MessagingAdmin {
        database: grpc.database.clone(),
        pages: grpc.pages.clone(),
        health,
        fault: store::fault,
    };
    let mut routes = Routes::new(OrdersServiceServer::new(grpc).accept_compressed(CompressionEncoding::Gzip));
    let mut services = vec![SERVICE_NAME];
    if let Some(token) = admin_token {
        let bearer = Bearer::new(&token);
        let admin = MessagingAdminServiceServer::new(admin).accept_compressed(CompressionEncoding::Gzip);
        routes = routes.add_service(InterceptedService::new(admin, bearer));
        services.push(messaging_admin_service_server::SERVICE_NAME);
    }
    let services = services.into_iter().map(str::to_owned).collect();
    Contract { name: "orders", routes, descriptor_set: ordermesh::DESCRIPTOR_SET, services }
}
