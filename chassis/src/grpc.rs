//! The gRPC server that every service runs: limits that tonic leaves open, reflection, health, and one log line a call.

use std::{any::Any, time::Duration};

use anyhow::Context as _;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    body::Body,
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::server::health_reporter;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    classify::{GrpcCode, GrpcErrorsAsFailures, SharedClassifier},
    trace::TraceLayer,
};

use crate::{
    status::{Fault, Reason},
    trace,
};

/// The longest a unary handler may take, whatever its caller allows.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);
/// Calls under way on one connection; HTTP/2 asks the client to wait for more.
const STREAMS_PER_CONNECTION: u32 = 1_024;
/// Request metadata: ids, keys and a trace context need far less.
const HEADER_LIST_BYTES: u32 = 16 * 1_024;
/// Connections end now and then, so that clients find new instances.
const CONNECTION_AGE: Duration = Duration::from_secs(30 * 60);
const CONNECTION_AGE_GRACE: Duration = Duration::from_secs(30);
/// A peer that is gone is noticed within the sum of both.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a gRPC listener serves.
#[derive(Debug, Clone, Copy)]
pub struct Contract<'a> {
    /// An encoded `FileDescriptorSet` that declares the services, for reflection.
    pub descriptor_set: &'a [u8],
    /// Full names of the services served, such as `ordermesh.orders.v1.OrdersService`.
    pub services: &'a [&'a str],
}

/// `routes` with health and reflection beside them: `grpc.health.v1` answers SERVING for the empty name and for each service.
///
/// # Errors
/// When the descriptor set cannot be read.
pub async fn assemble(routes: Routes, contract: Contract<'_>) -> anyhow::Result<Routes> {
    let (health, health_service) = health_reporter();
    for name in contract.services {
        health.set_service_status(*name, tonic_health::ServingStatus::Serving).await;
    }
    let reflection = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(contract.descriptor_set)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let names = contract.services.iter().copied().chain(["grpc.health.v1.Health"]);
        names.fold(builder, |builder, name| builder.with_service_name(name))
    };
    Ok(routes
        .add_service(health_service)
        .add_service(reflection().build_v1().context("cannot serve reflection")?)
        .add_service(reflection().build_v1alpha().context("cannot serve reflection")?))
}

/// Serves until `stop`, then accepts no more and lets calls under way finish.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, routes: Routes, stop: CancellationToken) -> anyhow::Result<()> {
    let layers = ServiceBuilder::new()
        .layer(
            TraceLayer::new(SharedClassifier::new(ours_to_mend())).make_span_with(call_span).on_request(()),
        )
        .layer(CatchPanicLayer::custom(panicked))
        .into_inner();
    Server::builder()
        .timeout(HANDLER_TIMEOUT)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .max_connection_age(CONNECTION_AGE)
        .max_connection_age_grace(CONNECTION_AGE_GRACE)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(layers)
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            stop.cancelled_owned(),
        )
        .await
        .context("the gRPC listener failed")
}

/// Only what is wrong with the service is logged as an error: what is wrong with a request concerns its caller.
fn ours_to_mend() -> GrpcErrorsAsFailures {
    let callers = [
        GrpcCode::InvalidArgument,
        GrpcCode::NotFound,
        GrpcCode::AlreadyExists,
        GrpcCode::FailedPrecondition,
        GrpcCode::OutOfRange,
        GrpcCode::Unimplemented,
        GrpcCode::Unauthenticated,
        GrpcCode::PermissionDenied,
    ];
    callers.into_iter().fold(GrpcErrorsAsFailures::new(), GrpcErrorsAsFailures::with_success)
}

fn call_span<B>(request: &Request<B>) -> tracing::Span {
    let parent = trace::incoming(request.headers());
    let span =
        tracing::info_span!("call", otel.kind = "server", rpc = request.uri().path(), trace.parent = parent);
    trace::join(&span, parent);
    span
}

/// A panic in a handler is a bug of that call alone: its caller is told so, the process goes on.
fn panicked(panic: Box<dyn Any + Send>) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    tracing::error!(panic = text, "a handler panicked");
    Status::from(Fault::new(Reason::Internal, "internal error")).into_http()
}
