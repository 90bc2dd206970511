//! The binary `ordermesh`: all of the mesh in one process, and the operator's commands.

mod settings;
mod up;
mod services;
mod out;
mod check;
mod admin;
mod greeting;
mod lasts;
mod token;
mod certs;
mod backup;

use std::{future::Future, io::Write as _, process::ExitCode};

use anyhow::Context as _;
use chassis::{
    admin as listener,
    lifecycle::Lifecycle,
    settings::ConfigErrors,
    signals::Signals,
    start,
    telemetry::{self, LogSettings},
};
use clap::CommandFactory as _;
use mimalloc::MiMalloc;
use orders::Orders;
use payments::Payments;
use service::Service;
use storage::Database;
use tokio::runtime::Runtime;

use crate::{
    greeting::Greeting,
    settings::{Arguments, Command, Config, DatabaseSettings, Settings},
};

/// What one thread makes another one frees, which the allocator of the C library is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let Arguments { command, up } = start::parse();
    start::exit(match command {
        None => on_threads(run(up)),
        Some(Command::Up(settings)) => on_threads(run(*settings)),
        Some(Command::Migrate { databases, logs }) => on_threads(migrate(*databases, logs)),
        Some(Command::Healthcheck { admin, tls }) => {
            listener::healthcheck(admin, tls.itself().as_ref()).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Check(arguments)) => on_threads(check::run(arguments)),
        Some(Command::Status(arguments)) => on_threads(admin::status(*arguments)),
        Some(Command::Admin(arguments)) => on_threads(admin::run(*arguments)),
        Some(Command::Completions { shell }) => completions(shell),
        Some(Command::Token(arguments)) => token::run(arguments),
        Some(Command::Certs(arguments)) => certs::run(arguments),
        Some(Command::Backup(arguments)) => on_threads(back_up(arguments)),
    })
}

/// Makes a backup, and says what it holds.
async fn back_up(arguments: backup::Arguments) -> anyhow::Result<ExitCode> {
    out::lines(&[backup::run(arguments).await?])?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what a shell completes commands by.
fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ordermesh", &mut script);
    out::whether_read(std::io::stdout().write_all(&script))?;
    Ok(ExitCode::SUCCESS)
}

fn on_threads(process: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    start::block_on(Runtime::new().context("there are no threads")?, process)
}

async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::install()?;
    let _telemetry = telemetry::init(settings.logs.clone(), "ordermesh")?;
    let greeting = Greeting::of(&settings);
    if let Some(life) = signals.unless_stopped(begin(settings.check()?, &greeting)).await? {
        life.run(signals).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn migrate(databases: DatabaseSettings, logs: LogSettings) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::install()?;
    let _telemetry = telemetry::init(logs, "ordermesh")?;
    let mut errors = ConfigErrors::default();
    let databases = databases.check(&mut errors);
    let databases = errors.or(databases)?;
    let done = signals.unless_stopped(async {
        up::make_folder(&databases)?;
        let orders = Database::connect(&databases.orders, databases.limits).await?;
        orders.migrate::<<Orders as Service>::Migrations>().await.context("orders")?;
        let payments = Database::connect(&databases.payments, databases.limits).await?;
        payments.migrate::<<Payments as Service>::Migrations>().await.context("payments")
    });
    done.await?.context("stopped before the schemas were up to date")?;
    tracing::info!("the schemas are up to date");
    Ok(ExitCode::SUCCESS)
}

/// Builds every part, and starts it.
async fn begin(config: Config, greeting: &Greeting) -> anyhow::Result<Lifecycle> {
    let mut life = Lifecycle::new();
    let mesh = up::Mesh::build(config, &life).await?;
    let addresses = mesh.addresses()?;
    mesh.spawn(&mut life);
    listener::announce(&addresses);
    greeting.print(addresses[0].1).context("cannot write to standard output")?;
    Ok(life)
}
