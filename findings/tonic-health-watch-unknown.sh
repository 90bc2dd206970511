#!/usr/bin/env bash
# tonic-health 0.14.9: Watch of a service that is not registered yet ends at once with NOT_FOUND.
#
# Guess: as the health checking protocol of gRPC demands, Watch of an unknown service sends SERVICE_UNKNOWN, stays open, and sends SERVING
#        once the service is registered; only Check answers NOT_FOUND.
# Seen:  Watch answers NOT_FOUND like Check. A client that watches before the server has registered the service has to poll.
# When:  2026-11-28. The protocol: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
# Why:   client-side health checking (service configs with healthCheckConfig) watches before it sends the first call, and treats the
#        end of the stream as a failure with backoff.
# Needs: cargo.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src"
cd "$work"
cat > Cargo.toml <<'TOML'
[package]
name = "unknown"
version = "0.0.0"
edition = "2024"
[dependencies]
tonic = "=0.14.9"
tonic-health = "=0.14.9"
tokio = { version = "1", features = ["rt", "macros", "net", "time"] }
tokio-stream = { version = "0.1", features = ["net"] }
TOML
cat > src/main.rs <<'RUST'
use std::{error::Error, time::Duration};
use tokio::{net::TcpListener, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, transport::{Endpoint, Server}};
use tonic_health::{pb::{HealthCheckRequest, health_client::HealthClient}, server::health_reporter};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (_reporter, service) = health_reporter();
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    let mut client = HealthClient::new(Endpoint::from_shared(format!("http://{address}"))?.connect().await?);
    let request = HealthCheckRequest { service: "shop.v1.Cart".into() };
    let watched = match client.watch(request).await {
        Err(status) => Some(status.code()),
        Ok(stream) => match timeout(Duration::from_secs(2), stream.into_inner().message()).await {
            Ok(Err(status)) => Some(status.code()),
            Ok(Ok(message)) => { println!("Watch sends {message:?}"); None }
            Err(_) => None,
        },
    };
    println!("Watch of an unknown service ends with {watched:?}");
    if watched == Some(Code::NotFound) { Ok(()) } else { Err("it is not so any more".into()) }
}
RUST
cargo run --quiet
