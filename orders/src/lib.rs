//! The orders service: orders are placed and read here, and end by what payments decides.
//!
//! Requests come in through [`grpc`], which calls [`commands`], and messages through [`reactions`]; both decide by [`domain`] and write
//! through [`store`].

pub mod settings;
pub mod grpc;
pub mod commands;
pub mod reactions;
pub mod expiry;
pub mod feed;
pub mod messages;
pub mod domain;
pub mod explain;
pub mod reconciliation;
pub mod store;

use std::{sync::Arc, time::Duration};

use chassis::{lifecycle::Stage, secret::SecretString, settings::ConfigErrors};
use messaging::consumer::Deduplication;
use ordermesh::orders::v1::{
    orders_admin_service_server::OrdersAdminServiceServer, orders_service_server::OrdersServiceServer,
};
use service::{Service, Wiring, decisions::Decisions};
use tonic::codec::CompressionEncoding;

use crate::{
    commands::{cancel_order::CancelOrder, create_order::CreateOrder},
    expiry::Expiry,
    explain::{
        Explainer,
        payments::{Payments, Whom},
    },
    feed::Feed,
    grpc::admin::OrdersAdmin,
    reactions::settle_orders::{self, SettleOrders},
    reconciliation::{
        Reconciliation,
        settings::Timing,
        side::{Remote, Sided, Token},
        status::Shared,
    },
    settings::{OrderSettings, ProcessSettings},
    store::schema::Migrations,
};

/// What the service consists of.
#[derive(Debug, Clone)]
pub struct Orders {
    /// When an undecided payment is given up, after the order was placed.
    pub order_ttl: Duration,
    /// Where payments is asked what it knows of an order.
    pub payments: Whom,
    /// When orders and payments are compared; `None` for never.
    pub reconciliation: Option<Timing>,
    /// The decisions of payments, where it is a part of this process.
    pub decisions: Option<Sided>,
}

impl Orders {
    /// The service of these settings where others say where payments is; `None` after errors were noted.
    pub fn of(settings: OrderSettings, errors: &mut ConfigErrors) -> Option<Self> {
        let (order_ttl, reconciliation) = settings.check(errors)?;
        Some(Self { order_ttl, payments: Whom::default(), reconciliation, decisions: None })
    }

    /// The other side of reconciliation, and when it is compared; or why it is not.
    fn side(&self, admin_token: Option<&SecretString>) -> Result<(Sided, Timing), String> {
        let timing = self.reconciliation.ok_or("it is switched off (--reconcile-every 0s)")?;
        if let Some(side) = &self.decisions {
            return Ok((Arc::clone(side), timing));
        }
        if self.payments.location.is_none() {
            return Err("nobody has said where payments is (--payments-url)".to_owned());
        }
        let file = self.payments.token_file.clone().map(Token::File);
        let token = file.or_else(|| admin_token.cloned().map(Token::Fixed));
        let token =
            token.ok_or("there is no token for payments (--payments-token-file, or --admin-token)")?;
        let remote: Sided = Arc::new(Remote { payments: Payments::of(&self.payments)?, token });
        Ok((remote, timing))
    }
}

impl Orders {
    /// Compares orders with payments, if it can; returns how far that is.
    fn reconcile(&self, wiring: &mut Wiring, expiry: &Expiry) -> Shared {
        let (payments, timing) = match self.side(wiring.admin_token.as_ref()) {
            Ok(side) => side,
            Err(why) => {
                tracing::info!(reason = why, "orders and payments are not compared by this process");
                return Shared::never(&why);
            }
        };
        let (database, clock) = (wiring.database.clone(), Arc::clone(&wiring.clock));
        let status = Shared::default();
        let reconciliation = Reconciliation {
            orders: Decisions::new(store::decisions::Orders, database.clone(), Arc::clone(&clock)),
            database,
            payments,
            expiry: expiry.clone(),
            whereabouts: wiring.whereabouts(),
            clock,
            timing,
            status: status.clone(),
        };
        wiring.run(Stage::Services, "reconciliation", |stop| reconciliation.run(stop));
        status
    }
}

impl Service for Orders {
    const NAME: &'static str = "orders";
    const ABOUT: &'static str = "The orders service: placing, reading and listing orders";
    const LISTEN: &'static str = "127.0.0.1:5001";
    const ADMIN: &'static str = "127.0.0.1:9091";
    type Settings = ProcessSettings;
    type Migrations = Migrations;

    fn check(settings: ProcessSettings, errors: &mut ConfigErrors) -> Option<Self> {
        let (payments, orders) = (settings.payments.check(errors), Self::of(settings.orders, errors));
        Some(Self { payments: payments?, ..orders? })
    }

    async fn wire(self, wiring: &mut Wiring) -> anyhow::Result<()> {
        let (database, outbox) = (wiring.database.clone(), wiring.outbox.clone());
        let (clock, pages) = (Arc::clone(&wiring.clock), wiring.pages.clone());
        let feed = Feed::new(database.clone()).await?;
        let expiry = Expiry { database: database.clone(), outbox: outbox.clone(), clock: Arc::clone(&clock) };
        let settle_orders = SettleOrders { feed: feed.clone(), clock: Arc::clone(&clock) };
        let cancel_order = CancelOrder {
            database: database.clone(),
            outbox: outbox.clone(),
            feed: feed.clone(),
            clock: Arc::clone(&clock),
        };
        let grpc = grpc::Grpc {
            create_order: wiring.group("orders writer", CreateOrder { outbox }),
            cancel_order,
            database: database.clone(),
            clock: Arc::clone(&clock),
            pages,
            default_currency: wiring.default_currency.clone(),
            order_ttl: self.order_ttl,
            feed: feed.clone(),
        };
        wiring.serve(OrdersServiceServer::new(grpc).accept_compressed(CompressionEncoding::Gzip));
        let status = self.reconcile(wiring, &expiry);
        let payments = Payments::of(&self.payments).map_err(anyhow::Error::msg)?;
        let explainer = Explainer { whereabouts: wiring.whereabouts(), payments, clock: Arc::clone(&clock) };
        let decisions = Decisions::new(store::decisions::Orders, database.clone(), clock);
        let pages = wiring.pages.clone();
        let admin = OrdersAdmin { database, explainer, decisions, reconciliation: status, pages };
        let admin = OrdersAdminServiceServer::new(admin);
        wiring.serve_admin(admin.accept_compressed(CompressionEncoding::Gzip));
        wiring.consume(settle_orders::subscription(), Deduplication::Handler, settle_orders);
        wiring.run(Stage::Services, "orders feed", |stop| feed.run(stop));
        wiring.run(Stage::Services, "orders expiry", |stop| expiry.run(stop));
        Ok(())
    }
}
