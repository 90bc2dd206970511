//! The separate process `orders`.

use std::sync::Arc;

use anyhow::Context as _;
use chassis::{
    admin,
    clock::SystemClock,
    lifecycle::{Lifecycle, Stage},
    runtime, telemetry,
};
use clap::Parser as _;
use messaging::{broker::rabbit::RabbitBroker, topology::Topology};
use mimalloc::MiMalloc;
use orders::{
    Foundation, Service,
    settings::{Command, Settings},
};
use storage::Database;
use tokio::net::TcpListener;

/// What one thread makes another one frees, which the allocator of the C library is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> anyhow::Result<()> {
    runtime::runtime()?.block_on(serve())
}

async fn serve() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let command = settings.command;
    let _telemetry = telemetry::init(settings.logs.clone(), "orders")?;
    let config = settings.check()?;
    if let Some(Command::Healthcheck) = command {
        return admin::healthcheck(config.admin);
    }
    let listener = TcpListener::bind(config.listen).await.context("cannot listen for gRPC")?;
    let admin_listener = TcpListener::bind(config.admin).await.context("cannot listen for the operator")?;
    let topology =
        Topology { exchange: ordermesh::EVENTS_EXCHANGE.to_owned(), partitions: config.partitions };
    let mut broker = RabbitBroker::new(config.amqp_url.as_str(), topology)?;
    if let Some(ca) = config.amqp_ca {
        broker = broker.with_ca(ca).context("--amqp-ca")?;
    }
    let service = Service::build(Foundation {
        database: Database::connect(&config.database_url, config.limits).await?,
        broker: Arc::new(broker),
        partitions: config.partitions,
        clock: SystemClock::shared(),
        default_currency: config.default_currency,
        admin_token: config.admin_token,
        order_ttl: config.order_ttl,
    })
    .await?;
    admin::announce(&[("orders-grpc", listener.local_addr()?), ("admin", admin_listener.local_addr()?)]);
    let mut life = Lifecycle::new();
    let parts = service.readiness();
    life.spawn(Stage::Last, "admin", |stop| admin::serve(admin_listener, parts, stop));
    service.spawn(listener, &mut life);
    life.run().await
}
