//! A third service, to show what one takes: an order that is paid is shipped. One event in, one RPC out.
//!
//! Payments says that an order is paid ([`reactions`]), which makes a shipment of it ([`domain`]), which is a row of a table ([`store`]), which
//! is read through [`grpc`]. What is here is all that differs from another service: the rest is the crate `service`.

pub mod grpc;
pub mod reactions;
pub mod domain;
pub mod store;
pub mod v1;

use std::sync::Arc;

use chassis::settings::ConfigErrors;
use messaging::consumer::Deduplication;
use service::{Service, Wiring};

use crate::{
    grpc::Grpc,
    reactions::ship_orders::{self, ShipOrders},
    store::schema::Migrations,
    v1::shipping_service_server::ShippingServiceServer,
};

/// What the service consists of.
#[derive(Debug, Clone, Copy)]
pub struct Shipping;

impl Service for Shipping {
    const NAME: &'static str = "shipping";
    const ABOUT: &'static str = "The shipping service: an order that is paid is shipped";
    const LISTEN: &'static str = "127.0.0.1:5003";
    const ADMIN: &'static str = "127.0.0.1:9093";
    const DESCRIPTOR_SETS: &'static [&'static [u8]] =
        &[ordermesh::DESCRIPTOR_SET, tonic::include_file_descriptor_set!("shipping")];
    type Settings = ();
    type Migrations = Migrations;

    fn check((): (), _: &mut ConfigErrors) -> Option<Self> {
        Some(Self)
    }

    async fn wire(self, wiring: &mut Wiring) -> anyhow::Result<()> {
        let ship_orders = ShipOrders { clock: Arc::clone(&wiring.clock) };
        wiring.serve(ShippingServiceServer::new(Grpc { database: wiring.database.clone() }));
        wiring.consume(ship_orders::subscription(), Deduplication::Handler, ship_orders);
        Ok(())
    }
}
