//! The separate process `gateway`.

use std::net::SocketAddr;

use anyhow::Context as _;
use chassis::{
    admin,
    lifecycle::{Lifecycle, Stage},
    settings::{Checked, Mistakes},
    telemetry::{self, LogSettings},
};
use clap::Parser as _;
use gateway::{Edge, Settings};
use tokio::net::TcpListener;

/// Flags, with an environment variable each.
#[derive(Debug, clap::Parser)]
#[command(name = "gateway", version, about = "The edge: HTTP/JSON in, gRPC out")]
struct Arguments {
    /// What to do other than serving
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    edge: Settings,
    /// Where /livez and /readyz are served
    #[arg(long, env = "ADMIN_LISTEN", default_value = "127.0.0.1:9090", global = true)]
    admin: Checked<SocketAddr>,
    #[command(flatten)]
    logs: LogSettings,
}

/// What the binary does other than serving.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Command {
    /// Asks the running process whether it is ready: exit status 0 or 1
    Healthcheck,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { command, edge, admin, logs } = Arguments::parse();
    let _telemetry = telemetry::init(logs, "gateway")?;
    let mut mistakes = Mistakes::default();
    let admin = admin.take("--admin", &mut mistakes);
    if let Some(Command::Healthcheck) = command {
        return admin::healthcheck(mistakes.or(admin)?);
    }
    let edge = Edge::build(edge).map_err(|others| mistakes.extend(others)).ok();
    let (admin, edge) = mistakes.or(admin.zip(edge))?;
    let listener = TcpListener::bind(edge.listen()).await.context("cannot listen for HTTP")?;
    let admin_listener = TcpListener::bind(admin).await.context("cannot listen for the operator")?;
    admin::announce(&[("http", listener.local_addr()?), ("admin", admin_listener.local_addr()?)]);
    let mut life = Lifecycle::new();
    // It keeps nothing and waits for nobody: an edge that serves is ready, whatever is behind it.
    life.spawn(Stage::Last, "admin", |stop| admin::serve(admin_listener, Vec::new(), stop));
    life.spawn(Stage::Edge, "edge", |stop| gateway::serve(listener, edge, stop));
    life.run().await
}
