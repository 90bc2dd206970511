//! The payments service: accounts, their ledger, and one write-once decision about the payment of each order.
//!
//! Requests come in through [`grpc`], which calls [`commands`], and messages through [`reactions`]; both decide by [`domain`] and write
//! through [`store`].

pub mod grpc;
pub mod commands;
pub mod reactions;
pub mod domain;
pub mod store;

use std::sync::Arc;

use chassis::{clock::Clock, settings::ConfigErrors};
use messaging::consumer::Deduplication;
use ordermesh::payments::v1::{
    payments_admin_service_server::PaymentsAdminServiceServer, payments_service_server::PaymentsServiceServer,
};
use service::{Service, Wiring, decisions::Decisions};
use storage::Database;
use tonic::codec::CompressionEncoding;

use crate::{
    commands::{create_account::CreateAccount, top_up_account::TopUpAccount},
    grpc::admin::PaymentsAdmin,
    reactions::decide_payments::{self, DecidePayments},
    store::{ledger, schema::Migrations},
};

/// The decisions in the database of payments, for who compares them in the same process.
pub fn decisions(database: Database, clock: Arc<dyn Clock>) -> Decisions {
    Decisions::new(store::decisions::Payments, database, clock)
}

/// What the service consists of.
#[derive(Debug, Clone, Copy)]
pub struct Payments;

impl Service for Payments {
    const NAME: &'static str = "payments";
    const ABOUT: &'static str = "The payments service: accounts, ledger and payment decisions";
    const LISTEN: &'static str = "127.0.0.1:5002";
    const ADMIN: &'static str = "127.0.0.1:9092";
    type Settings = ();
    type Migrations = Migrations;

    fn check((): (), _: &mut ConfigErrors) -> Option<Self> {
        Some(Self)
    }

    async fn wire(self, wiring: &mut Wiring) -> anyhow::Result<()> {
        let (database, pages) = (wiring.database.clone(), wiring.pages.clone());
        let clock = Arc::clone(&wiring.clock);
        let grpc = grpc::Grpc {
            create_account: wiring.group("accounts writer", CreateAccount),
            top_up_account: wiring.group("top-ups writer", TopUpAccount { clock: Arc::clone(&clock) }),
            database: database.clone(),
            clock: Arc::clone(&clock),
            default_currency: wiring.default_currency.clone(),
            pages: pages.clone(),
        };
        let gzip = CompressionEncoding::Gzip;
        wiring.serve(PaymentsServiceServer::new(grpc).accept_compressed(gzip));
        let decisions = decisions(database.clone(), Arc::clone(&clock));
        let admin = PaymentsAdmin { database, pages, whereabouts: wiring.whereabouts(), decisions };
        wiring.serve_admin(PaymentsAdminServiceServer::new(admin).accept_compressed(gzip));
        wiring.audit(ledger::MOVEMENTS);
        let decide_payments = DecidePayments { outbox: wiring.outbox.clone(), clock };
        wiring.consume(decide_payments::subscription(), Deduplication::Requests, decide_payments);
        Ok(())
    }
}
