//! The separate process `orders`.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use chassis::{
    admin,
    clock::SystemClock,
    lifecycle::{Lifecycle, Stage},
    signals::Signals,
    start, telemetry,
};
use messaging::broker::rabbit::RabbitBroker;
use mimalloc::MiMalloc;
use orders::{
    Foundation, Service,
    settings::{Command, Config, Settings},
};
use storage::Database;
use tokio::net::TcpListener;

/// What one thread makes another one frees, which the allocator of the C library is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let settings = start::parse::<Settings>();
    let runtime = service::runtime::runtime().context("there are no threads");
    let ended = runtime.and_then(|runtime| start::block_on(runtime, serve(settings)));
    start::exit(ended.map(|()| ExitCode::SUCCESS))
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let mut signals = Signals::install()?;
    let command = settings.command;
    let _telemetry = telemetry::init(settings.logs.clone(), "orders")?;
    let config = settings.check()?;
    if let Some(Command::Healthcheck) = command {
        return admin::healthcheck(config.admin);
    }
    if let Some(Command::Migrate) = command {
        let done = signals.unless_stopped(migrate(config)).await?;
        return done.context("stopped before the schema was up to date");
    }
    let Some(life) = signals.unless_stopped(begin(config)).await? else { return Ok(()) };
    life.run(signals).await
}

async fn migrate(config: Config) -> anyhow::Result<()> {
    tracing::info!(database = %config.database_url, "migrating");
    let database = Database::connect(&config.database_url, config.limits).await?;
    orders::migrate(&database).await?;
    tracing::info!("the schema is up to date");
    Ok(())
}

/// Takes the ports, opens the database, brings its schema up to date and starts every task.
async fn begin(config: Config) -> anyhow::Result<Lifecycle> {
    let listener = TcpListener::bind(config.listen).await.context("cannot listen for gRPC")?;
    let admin_listener = TcpListener::bind(config.admin).await.context("cannot listen for the operator")?;
    let topology = service::admin::topology(config.partitions);
    let mut broker = RabbitBroker::new(config.amqp_url.expose(), topology).context("--amqp-url")?;
    if let Some(ca) = config.amqp_ca {
        broker = broker.with_ca(ca).context("--amqp-ca")?;
    }
    tracing::info!(database = %config.database_url, broker = %config.amqp_url, "starting");
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
    let readiness = service.spawn(listener, &mut life);
    life.spawn(Stage::Operator, "admin", |stop| admin::serve(admin_listener, vec![readiness], stop));
    Ok(life)
}
