//! The process `gateway`: the edge by itself.

use anyhow::Context as _;
use chassis::{
    lifecycle::Lifecycle,
    telemetry::{self, LogSettings},
};
use clap::Parser;
use gateway::{Edge, Settings, serve};
use tokio::net::TcpListener;

/// HTTP/JSON in, gRPC out.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    edge: Settings,
    #[command(flatten)]
    log: LogSettings,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    telemetry::init(arguments.log)?;
    let edge = Edge::build(arguments.edge)?;
    let listener = TcpListener::bind(edge.listen())
        .await
        .with_context(|| format!("cannot listen on {}", edge.listen()))?;
    let mut life = Lifecycle::new();
    let stop = life.stop();
    life.spawn("edge", serve(listener, edge, stop));
    life.run().await
}
