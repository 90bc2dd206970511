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
    bearer::Bearer,
    clock::Clock,
    grpc::Contract,
    lifecycle::{Lifecycle, Stage},
    secret::SecretString,
};
use messaging::{
    broker::Broker,
    consumer::{Consumer, Deduplication},
    health::Health,
    outbox::Outbox,
    relay::Relay,
    retention::Retention,
};
use operator::MessagingAdmin;
use ordermesh::{
    messaging::v1::messaging_admin_service_server::{self, MessagingAdminServiceServer},
    payments::v1::{
        payments_admin_service_server::{self, PaymentsAdminServiceServer},
        payments_service_server::{PaymentsServiceServer, SERVICE_NAME},
    },
};
use storage::{CannotMigrate, Database, group::GroupCommit, page::PageTokens};
use tokio::net::TcpListener;
use tonic::service::Routes;

use crate::{
    commands::{create_account::CreateAccount, top_up_account::TopUpAccount},
    grpc::admin::PaymentsAdmin,
    reactions::decide_payments::{self, DecidePayments},
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
}

/// The service, ready to run.
#[derive(Debug)]
pub struct Service {
    routes: Routes,
    relay: Relay,
    consumer: Consumer,
    database: Database,
    health: Health,
}

impl Service {
    /// Brings the schema up to date and builds every part; nothing is served or consumed yet.
    ///
    /// # Errors
    /// When the database cannot be migrated, or the contract not be served.
    pub async fn build(foundation: Foundation) -> anyhow::Result<Self> {
        let Foundation { database, broker, partitions, clock, default_currency, admin_token } = foundation;
        migrate(&database).await?;
        let outbox = Outbox::new();
        let grpc = grpc::Grpc {
            database: database.clone(),
            clock: Arc::clone(&clock),
            default_currency,
            pages: PageTokens::of(&database).await?,
            create_account: GroupCommit::start(database.clone(), CreateAccount),
            top_up_account: GroupCommit::start(database.clone(), TopUpAccount { clock: Arc::clone(&clock) }),
        };
        let health = Health::new();
        let routes = routes(grpc, health.clone(), admin_token).await?;
        let consumer = Consumer::new(
            database.clone(),
            Arc::clone(&broker),
            partitions,
            decide_payments::subscription(),
            Deduplication::Inbox,
            DecidePayments { outbox: outbox.clone(), clock },
        )
        .with_health(&health);
        let relay = Relay::new(database.clone(), outbox, broker, "/ordermesh/payments").with_health(&health);
        Ok(Self { routes, relay, consumer, database, health })
    }

    /// The states of its relay and its consumer, for who shows them.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
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
        let Self { routes, relay, consumer, database, .. } = self;
        life.spawn(Stage::Services, "payments grpc", |stop| chassis::grpc::serve(listener, routes, stop));
        life.spawn(Stage::Last, "payments retention", |stop| async move {
            Retention::new(database).run(stop).await;
            Ok(())
        });
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

/// The contract, and beside it the admin services when there is a token for them.
async fn routes(
    grpc: grpc::Grpc,
    health: Health,
    admin_token: Option<SecretString>,
) -> anyhow::Result<Routes> {
    let messages = MessagingAdmin {
        database: grpc.database.clone(),
        pages: grpc.pages.clone(),
        health,
        fault: store::fault,
    };
    let ledger = PaymentsAdmin { database: grpc.database.clone(), pages: grpc.pages.clone() };
    let mut routes = Routes::new(PaymentsServiceServer::new(grpc));
    let mut services = vec![SERVICE_NAME];
    if let Some(token) = admin_token {
        let bearer = Bearer::new(&token);
        routes = routes
            .add_service(MessagingAdminServiceServer::with_interceptor(messages, bearer.clone()))
            .add_service(PaymentsAdminServiceServer::with_interceptor(ledger, bearer));
        services.push(messaging_admin_service_server::SERVICE_NAME);
        services.push(payments_admin_service_server::SERVICE_NAME);
    }
    let contract = Contract { descriptor_set: ordermesh::DESCRIPTOR_SET, services: &services };
    chassis::grpc::assemble(routes, contract).await
}
