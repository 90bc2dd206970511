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

use std::{fmt, sync::Arc};

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
    retention::Retention,
};
use ordermesh::{
    messaging::v1::messaging_admin_service_server::{self, MessagingAdminServiceServer},
    payments::v1::{
        payments_admin_service_server::{self, PaymentsAdminServiceServer},
        payments_service_server::{PaymentsServiceServer, SERVICE_NAME},
    },
};
use service::{admin::MessagingAdmin, bearer::Bearer, grpc::Contract, page::PageTokens};
use storage::{CannotMigrate, Database, group::GroupCommit};
use tokio::net::TcpListener;
use tonic::{
    codec::CompressionEncoding,
    service::{Routes, interceptor::InterceptedService},
};

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
pub struct Service {
    contract: Contract,
    /// Of accounts, and of top-ups.
    writers: [BoxFuture<'static, ()>; 2],
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
        let (create_account, accounts) = GroupCommit::new(database.clone(), CreateAccount);
        let (top_up_account, top_ups) =
            GroupCommit::new(database.clone(), TopUpAccount { clock: Arc::clone(&clock) });
        let grpc = grpc::Grpc {
            database: database.clone(),
            clock: Arc::clone(&clock),
            default_currency,
            pages: PageTokens::of(&database).await?,
            create_account,
            top_up_account,
        };
        let health = Health::new();
        let contract = contract(grpc, health.clone(), admin_token);
        let consumer = Consumer::new(
            database.clone(),
            Arc::clone(&broker),
            partitions,
            decide_payments::subscription(),
            Deduplication::Requests,
            DecidePayments { outbox: outbox.clone(), clock },
        )
        .with_health(&health);
        let relay = Relay::new(database.clone(), outbox, broker, "/ordermesh/payments").with_health(&health);
        let writers: [BoxFuture<'static, ()>; 2] = [Box::pin(accounts), Box::pin(top_ups)];
        Ok(Self { contract, writers, relay, consumer, database, health })
    }

    /// Starts serving, relaying and consuming, until the lifecycle's stop.
    pub fn spawn(self, listener: TcpListener, life: &mut Lifecycle) -> Readiness {
        let readiness =
            Readiness::start(service::readiness::parts("payments", &self.database, &self.health), life);
        let Self { contract, writers: [accounts, top_ups], relay, consumer, database, .. } = self;
        let follows = readiness.clone();
        life.spawn(Stage::Services, "payments grpc", |stop| {
            service::grpc::serve(listener, contract, follows, stop)
        });
        // They end when no call can reach them any more.
        for (name, writer) in [("accounts writer", accounts), ("top-ups writer", top_ups)] {
            life.spawn(Stage::Writers, name, |_stop| async move {
                writer.await;
                Ok(())
            });
        }
        life.spawn(Stage::Last, "payments retention", |stop| async move {
            Retention::new(database).run(stop).await;
            Ok(())
        });
        let relay = relay.with_hurry(life.hurrying());
        life.spawn(Stage::Relays, "payments relay", |stop| async move {
            relay.run(stop).await;
            Ok(())
        });
        life.spawn(Stage::Last, "payments consumer", |stop| async move {
            consumer.run(stop).await;
            Ok(())
        });
        readiness
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("payments::Service")
    }
}

/// The contract, and beside it the admin services when there is a token for them.
fn contract(grpc: grpc::Grpc, health: Health, admin_token: Option<SecretString>) -> Contract {
    let messages = MessagingAdmin {
        database: grpc.database.clone(),
        pages: grpc.pages.clone(),
        health,
        fault: store::fault,
    };
    let ledger = PaymentsAdmin { database: grpc.database.clone(), pages: grpc.pages.clone() };
    let gzip = CompressionEncoding::Gzip;
    let mut routes = Routes::new(PaymentsServiceServer::new(grpc).accept_compressed(gzip));
    let mut services = vec![SERVICE_NAME];
    if let Some(token) = admin_token {
        let bearer = Bearer::new(&token);
        let messages = MessagingAdminServiceServer::new(messages).accept_compressed(gzip);
        let ledger = PaymentsAdminServiceServer::new(ledger).accept_compressed(gzip);
        routes = routes
            .add_service(InterceptedService::new(messages, bearer.clone()))
            .add_service(InterceptedService::new(ledger, bearer));
        services.push(messaging_admin_service_server::SERVICE_NAME);
        services.push(payments_admin_service_server::SERVICE_NAME);
    }
    let services = services.into_iter().map(str::to_owned).collect();
    Contract { name: "payments", routes, descriptor_set: ordermesh::DESCRIPTOR_SET, services }
}
