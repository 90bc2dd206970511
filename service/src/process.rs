//! The process of a single service: what its binary does from the first flag to the last task.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use auth::Who;
use chassis::{
    admin,
    clock::SystemClock,
    lifecycle::{Lifecycle, Stage},
    settings::ConfigErrors,
    signals::Signals,
    start, telemetry,
};
use storage::Database;
use tokio::net::TcpListener;

use crate::{
    Foundation, Service, rest,
    runtime::runtime,
    settings::{Command, ServiceConfig, ServiceSettings},
    wiring,
};

/// Runs the process of a service, or the command that its flags name.
#[must_use]
pub fn main<S: Service>() -> ExitCode {
    let settings = start::parse::<ServiceSettings<S>>();
    let runtime = runtime().context("there are no threads");
    let ended = runtime.and_then(|runtime| start::block_on(runtime, run(settings)));
    start::exit(ended.map(|()| ExitCode::SUCCESS))
}

async fn run<S: Service>(settings: ServiceSettings<S>) -> anyhow::Result<()> {
    let mut signals = Signals::install()?;
    let command = settings.command;
    let _telemetry = telemetry::init(settings.logs.clone(), S::NAME)?;
    match command {
        // By nothing but what it needs: what is wrong with other settings is no sickness of the process.
        Some(Command::Healthcheck) => {
            let mut errors = ConfigErrors::default();
            let admin = settings.admin.take("--admin", &mut errors);
            admin::healthcheck(errors.or(admin)?, settings.tls.itself().as_ref())
        }
        Some(Command::Migrate) => {
            let done = signals.unless_stopped(migrate(settings.check()?)).await?;
            done.context("stopped before the schema was up to date")
        }
        None => match signals.unless_stopped(begin(settings.check()?)).await? {
            Some(life) => life.run(signals).await,
            None => Ok(()),
        },
    }
}

async fn migrate<S: Service>(config: ServiceConfig<S>) -> anyhow::Result<()> {
    tracing::info!(database = %config.database_url, "migrating");
    let database = Database::connect(&config.database_url, config.limits).await?;
    database.migrate::<S::Migrations>().await?;
    tracing::info!("the schema is up to date");
    Ok(())
}

/// Takes the ports, opens the database, brings its schema up to date and starts every task.
async fn begin<S: Service>(config: ServiceConfig<S>) -> anyhow::Result<Lifecycle> {
    let ServiceConfig { listen, admin, hosts, database_url, limits, mesh, service } = config;
    let listener = TcpListener::bind(listen).await.context("cannot listen for gRPC")?;
    let admin_listener = TcpListener::bind(admin).await.context("cannot listen for the operator")?;
    let broker = mesh.broker.broker()?;
    mesh.auth.announce();
    let shown = mesh.broker.shown().map(tracing::field::display);
    tracing::info!(database = %database_url, broker = shown, "starting");
    let database = Database::connect(&database_url, limits).await?;
    let admin_tls = mesh.tls.admin.clone();
    let clock = SystemClock::shared();
    let who = Who::of(&mesh.auth, mesh.admin_token.as_ref(), Arc::clone(&clock))?;
    let service = wiring::build(service, Foundation { database, broker, clock, mesh, who }).await?;
    let grpc = format!("{}-grpc", S::NAME);
    admin::announce(&[(&grpc, listener.local_addr()?), ("admin", admin_listener.local_addr()?)]);
    let mut life = Lifecycle::new();
    let api = rest::router(&[(&service, listener.local_addr()?)], life.stopping())?;
    let readiness = service.spawn(listener, &mut life);
    life.spawn(Stage::Operator, "admin", |stop| {
        admin::serve(admin_listener, admin_tls, hosts, vec![readiness], api, stop)
    });
    Ok(life)
}
