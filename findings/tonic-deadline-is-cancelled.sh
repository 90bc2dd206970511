#!/usr/bin/env bash
# tonic 0.14.9: a deadline that passes is CANCELLED, not DEADLINE_EXCEEDED.
#
# Guess: a server whose handler takes longer than the caller's grpc-timeout, or than the server's own limit (Server::timeout), ends the
#        call with DEADLINE_EXCEEDED (4), as the status codes of gRPC describe it.
# Seen:  both end with CANCELLED (1) and the message "Timeout expired", without details. Retry policies, dashboards and error tables
#        that go by the code take it for a call that its own client gave up.
# When:  2026-11-28.
# Why:   a client cannot tell "it took too long, the outcome is not known" from "I cancelled it".
# Needs: cargo.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src"
cd "$work"
cat > Cargo.toml <<'TOML'
[package]
name = "late"
version = "0.0.0"
edition = "2024"
[dependencies]
tonic = "=0.14.9"
tonic-health = "=0.14.9"
tokio = { version = "1", features = ["rt", "macros", "net", "time"] }
tokio-stream = { version = "0.1", features = ["net"] }
TOML
cat > src/main.rs <<'RUST'
use std::{error::Error, future::pending, net::SocketAddr, time::Duration};
use tokio::net::TcpListener;
use tokio_stream::{Empty, wrappers::TcpListenerStream};
use tonic::{Code, Request, Response, Status, transport::{Endpoint, Server}};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient, health_server::{Health, HealthServer}};

struct Slow;

#[tonic::async_trait]
impl Health for Slow {
    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> { pending().await }
    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> { pending().await }
}

async fn serve(limit: Option<Duration>) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let mut server = Server::builder();
    if let Some(limit) = limit { server = server.timeout(limit); }
    tokio::spawn(server.add_service(HealthServer::new(Slow)).serve_with_incoming(TcpListenerStream::new(listener)));
    Ok(address)
}

async fn called(address: SocketAddr, deadline: Option<&str>) -> Result<Status, Box<dyn Error>> {
    let mut client = HealthClient::new(Endpoint::from_shared(format!("http://{address}"))?.connect().await?);
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(deadline) = deadline { request.metadata_mut().insert("grpc-timeout", deadline.parse()?); }
    Ok(client.check(request).await.err().ok_or("an answer")?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let own_limit = called(serve(Some(Duration::from_millis(50))).await?, None).await?;
    println!("the server's own limit of 50 ms: {:?} {:?}, {} bytes of details", own_limit.code(), own_limit.message(), own_limit.details().len());
    let callers = called(serve(None).await?, Some("50m")).await?;
    println!("grpc-timeout of 50 ms: {:?} {:?}, {} bytes of details", callers.code(), callers.message(), callers.details().len());
    if own_limit.code() == Code::Cancelled && callers.code() == Code::Cancelled { Ok(()) } else { Err("it is not so any more".into()) }
}
RUST
cargo run --quiet
