//! The orders service: orders are placed and read here, and end by what payments decides.
//!
//! It is asked through [`grpc`], which calls [`commands`]; it is told through [`reactions`]; both decide by [`domain`] and
//! write through [`store`].

pub mod settings;
pub mod grpc;
pub mod commands;
pub mod reactions;
pub mod domain;
pub mod store;

use std::{sync::Arc, time::Duration};

use chassis::{
    admin::Part,
    clock::Clock,
    grpc::Contract,
    lifecycle::{Lifecycle, Stage},
};
use messaging::{
    broker::Broker,
    consumer::{Consumer, Deduplication},
    outbox::Outbox,
    relay::Relay,
};
use ordermesh::orders::v1::orders_service_server::{OrdersServiceServer, SERVICE_NAME};
use storage::{Database, group::GroupCommit, page::PageTokens};
use tokio::net::TcpListener;
use tonic::service::Routes;

use crate::{
    commands::create_order::CreateOrder,
    reactions::settle_orders::{self, SettleOrders},
};

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
    /// When an undecided payment is given up, after the order was placed.
    pub order_ttl: Duration,
}

/// The service, ready to run.
#[derive(Debug)]
pub struct Service {
    routes: Routes,
    relay: Relay,
    consumer: Consumer,
    database: Database,
}

impl Service {
    /// Brings the schema up to date and builds every part; nothing is served or consumed yet.
    ///
    /// # Errors
    /// When the database cannot be migrated, or the contract not be served.
    pub async fn build(foundation: Foundation) -> anyhow::Result<Self> {
        let Foundation { database, broker, partitions, clock, default_currency, order_ttl } = foundation;
        database.migrate::<store::schema::Migrations>().await?;
        let outbox = Outbox::new();
        let create_order = CreateOrder { outbox: outbox.clone(), clock: Arc::clone(&clock) };
        let grpc = grpc::Grpc {
            database: database.clone(),
            clock: Arc::clone(&clock),
            default_currency,
            order_ttl,
            pages: PageTokens::of(&database).await?,
            create_order: GroupCommit::start(database.clone(), create_order),
        };
        let contract = Contract { descriptor_set: ordermesh::DESCRIPTOR_SET, services: &[SERVICE_NAME] };
        let routes = chassis::grpc::assemble(Routes::new(OrdersServiceServer::new(grpc)), contract).await?;
        let consumer = Consumer::new(
            database.clone(),
            Arc::clone(&broker),
            partitions,
            settle_orders::subscription(),
            Deduplication::Handler,
            SettleOrders { clock },
        );
        let relay = Relay::new(database.clone(), outbox, broker, "/ordermesh/orders");
        Ok(Self { routes, relay, consumer, database })
    }

    /// What `/readyz` asks of this service.
    #[must_use]
    pub fn readiness(&self) -> Vec<Part> {
        let (database, outbox) = (self.database.clone(), self.database.clone());
        vec![
            Part::new("orders.database", move || {
                let database = database.clone();
                async move { database.ping().await.map_err(|failure| failure.to_string()) }
            }),
            Part::new("orders.outbox", move || {
                let outbox = outbox.clone();
                async move { messaging::outbox::readiness(&outbox).await }
            }),
        ]
    }

    /// Starts serving, relaying and consuming, until the lifecycle's stop.
    pub fn spawn(self, listener: TcpListener, life: &mut Lifecycle) {
        let Self { routes, relay, consumer, .. } = self;
        life.spawn(Stage::Services, "orders grpc", |stop| chassis::grpc::serve(listener, routes, stop));
        life.spawn(Stage::Relays, "orders relay", |stop| async move {
            relay.run(stop).await;
            Ok(())
        });
        life.spawn(Stage::Last, "orders consumer", |stop| async move {
            consumer.run(stop).await;
            Ok(())
        });
    }
}
