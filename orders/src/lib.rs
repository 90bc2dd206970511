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
pub mod store;

use std::{sync::Arc, time::Duration};

use chassis::{lifecycle::Stage, settings::ConfigErrors};
use messaging::consumer::Deduplication;
use ordermesh::orders::v1::{
    orders_admin_service_server::OrdersAdminServiceServer, orders_service_server::OrdersServiceServer,
};
use service::{Service, Wiring};
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
}

impl Orders {
    /// The service of these settings where others say where payments is; `None` after errors were noted.
    pub fn of(settings: OrderSettings, errors: &mut ConfigErrors) -> Option<Self> {
        Some(Self { order_ttl: settings.check(errors)?, payments: Whom::default() })
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
        let payments = Payments::of(&self.payments).map_err(anyhow::Error::msg)?;
        let explainer = Explainer { whereabouts: wiring.whereabouts(), payments, clock };
        let admin = OrdersAdminServiceServer::new(OrdersAdmin { database, explainer });
        wiring.serve_admin(admin.accept_compressed(CompressionEncoding::Gzip));
        wiring.consume(settle_orders::subscription(), Deduplication::Handler, settle_orders);
        wiring.run(Stage::Services, "orders feed", |stop| feed.run(stop));
        wiring.run(Stage::Services, "orders expiry", |stop| expiry.run(stop));
        Ok(())
    }
}
