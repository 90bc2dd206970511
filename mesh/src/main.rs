//! The binary `ordermesh`: all of the mesh in one process, and the operator's commands.

mod settings;
mod up;
mod check;

use std::process::ExitCode;

use anyhow::Context as _;
use chassis::{admin, lifecycle::Lifecycle, telemetry};
use clap::Parser as _;
use mimalloc::MiMalloc;

use crate::settings::{Arguments, Command, Settings};

/// What one thread makes another one frees, which the allocator of the C library is slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { command, up } = Arguments::parse();
    match command {
        None => run(up),
        Some(Command::Up(settings)) => run(*settings),
        Some(Command::Healthcheck { admin }) => admin::healthcheck(admin),
        Some(Command::Check(arguments)) => return check::run(arguments),
    }
    .map(|()| ExitCode::SUCCESS)
}

#[tokio::main]
async fn run(settings: Settings) -> anyhow::Result<()> {
    let _telemetry = telemetry::init(settings.logs.clone(), "ordermesh")?;
    let mesh = up::Mesh::build(settings.check()?).await?;
    let addresses = mesh.addresses()?;
    let mut life = Lifecycle::new();
    mesh.spawn(&mut life);
    admin::announce(&addresses);
    greet(&addresses[0].1.to_string()).context("cannot write to standard output")?;
    life.run().await
}

/// What a user who has just started it wants to do next.
fn greet(http: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "documents: http://{http}/swagger/index.html")?;
    writeln!(
        out,
        "try: curl -s http://{http}/gateway/payments -H 'content-type: application/json' -d '{{\"userId\":\"alice\"}}'"
    )?;
    out.flush()
}
