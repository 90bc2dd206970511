//! The payments service: accounts, their ledger, and one write-once decision about the payment of each order.
//!
//! It is asked through [`grpc`], which calls [`commands`]; it is told through [`reactions`]; both decide by [`domain`] and
//! write through [`store`].

pub mod settings;
pub mod grpc;
pub mod commands;
pub mod reactions;
pub mod domain;
pub mod store;

use std::sync::Arc;

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
use ordermesh::payments::v1::payments_service_server::{PaymentsServiceServer, SERVICE_NAME};
use storage::{Database, group::GroupCommit};
use tokio::net::TcpListener;
use tonic::service::Routes;

use crate::{
    commands::{create_account::CreateAccount, top_up_account::TopUpAccount},
    reactions::pay_orders::{self, PayOrders},
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
        let Foundation { database, broker, partitions, clock, default_currency } = foundation;
        database.migrate::<store::schema::Migrations>().await?;
        let outbox = Outbox::new();
        let grpc = grpc::Grpc {
            database: database.clone(),
            clock: Arc::clone(&clock),
            default_currency,
            create_account: GroupCommit::start(database.clone(), CreateAccount),
            top_up_account: GroupCommit::start(database.clone(), TopUpAccount { clock: Arc::clone(&clock) }),
        };
        let contract = Contract { descriptor_set: ordermesh::DESCRIPTOR_SET, services: &[SERVICE_NAME] };
        let routes = chassis::grpc::assemble(Routes::new(PaymentsServiceServer::new(grpc)), contract).await?;
        let consumer = Consumer::new(
            database.clone(),
            Arc::clone(&broker),
            partitions,
            pay_orders::subscription(),
            Deduplication::Inbox,
            PayOrders { outbox: outbox.clone(), clock },
        );
        let relay = Relay::new(database.clone(), outbox, broker, "/ordermesh/payments");
        Ok(Self { routes, relay, consumer, database })
    }

    /// What `/readyz` asks of this service.
    #[must_use]
    pub fn readiness(&self) -> Vec<Part> {
        let (database, outbox) = (self.database.clone(), self.database.clone());
        vec![
            Part::new("payments.database", move || {
                let database = database.clone();
                async move { database.ping().await.map_err(|failure| failure.to_string()) }
            }),
            Part::new("payments.outbox", move || {
                let outbox = outbox.clone();
                async move { messaging::outbox::readiness(&outbox).await }
            }),
        ]
    }

    /// Starts serving, relaying and consuming, until the lifecycle's stop.
    pub fn spawn(self, listener: TcpListener, life: &mut Lifecycle) {
        let Self { routes, relay, consumer, .. } = self;
        life.spawn(Stage::Services, "payments grpc", |stop| chassis::grpc::serve(listener, routes, stop));
        life.spawn(Stage::Relays, "payments relay", |stop| async move {
            relay.run(stop).await;
            Ok(())
        });
        life.spawn(Stage::Last, "payments consumer", |stop| async move {
            consumer.run(stop).await;
            Ok(())
        });
    }
}
