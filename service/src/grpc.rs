//! The gRPC server that every service runs: reflection, health, one log line a call, and limits of time and of memory.

mod answers;
mod connections;
mod contract;
mod counted;
mod ended;
mod guarded;
mod served;
mod preface;
mod reflection;

use std::{convert::Infallible, error::Error, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::{Service, ServiceBuilder};
use tower_http::{
    classify::{GrpcCode, GrpcErrorsAsFailures, SharedClassifier},
    trace::TraceLayer,
};

pub use self::contract::Contract;
use self::{answers::Answers, counted::Counted, ended::Ended, guarded::Guarded, served::Served};
use chassis::{health, readiness::Readiness, trace};

type BoxError = Box<dyn Error + Send + Sync>;

/// Serves the contract until `stop`, with reflection and `grpc.health.v1` beside it, which follows `readiness`. Then it accepts no more,
/// lets calls under way finish, and cuts what does not.
///
/// # Errors
/// When a descriptor set cannot be read.
pub async fn serve(
    listener: TcpListener,
    contract: Contract,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let served = Served { services: contract.services.clone(), readiness, stop: stop.clone() };
    let routes = contract.routes.clone().add_service(health::server(served));
    let routes = reflection::add(routes, &contract, &stop)?;
    connections::serve(listener, &contract, answering(&contract, routes)?, stop).await;
    Ok(())
}

/// Some of the services of a contract as they answer a call, whichever way it came: counted, in a span, in time, and by its rule.
///
/// # Errors
/// When the descriptor set cannot be read.
pub fn answering<B>(
    contract: &Contract,
    routes: Routes,
) -> anyhow::Result<
    impl Service<
        Request<B>,
        Response = Response<impl Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static,
>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let layers = ServiceBuilder::new()
        .layer(Counted::of(contract)?)
        .layer(
            TraceLayer::new(SharedClassifier::new(server_faults()))
                .make_span_with(call_span)
                .on_request(())
                .on_response(Ended)
                .on_eos(Ended),
        )
        .layer(Answers)
        .layer(Guarded { guard: Arc::clone(&contract.guard) });
    Ok(layers.service(routes.prepare()))
}

/// Only what is wrong with the service is logged as an error: what is wrong with a request concerns its caller.
fn server_faults() -> GrpcErrorsAsFailures {
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
    let path = request.uri().path();
    // Of its own also where the caller is in the same process: the trace context says what it belongs to.
    let span = tracing::info_span!(parent: None, "call", otel.kind = "server", rpc = path, trace.parent = parent.as_deref());
    trace::join(&span, parent.as_deref(), request.headers());
    if trace::is_exported() {
        let method = path.trim_start_matches('/');
        trace::name(&span, method.to_owned());
        trace::ended(&span, &[("rpc.system.name", "grpc"), ("rpc.method", method)], None);
    }
    span
}
