//! The service of the contract: one method for each way that a call can go.

use std::{
    convert::Infallible,
    future::pending,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body as GrpcBody,
    server::{ClientStreamingService, Grpc, NamedService, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower::Service;

pub(crate) type Messages = BoxStream<'static, Result<String, Status>>;

/// What a handler reports: the metadata that it was called with, or that it was dropped.
pub(crate) type Reports = mpsc::UnboundedSender<String>;

/// The handlers; messages are a `google.protobuf.StringValue`.
#[derive(Debug, Clone)]
pub(crate) struct Handlers {
    pub(crate) reports: Reports,
}

impl NamedService for Handlers {
    const NAME: &'static str = "contract.v1.Contract";
}

impl Service<http::Request<GrpcBody>> for Handlers {
    type Response = http::Response<GrpcBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<GrpcBody>) -> Self::Future {
        let reports = self.reports.clone();
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let mut grpc = Grpc::new(ProstCodec::<String, String>::default());
        async move {
            Ok(match method.as_str() {
                "Count" => grpc.client_streaming(Count, request).await,
                "List" | "Endless" => grpc.server_streaming(List { method, reports }, request).await,
                _ => grpc.unary(Unary { method, reports }, request).await,
            })
        }
        .boxed()
    }
}

/// Reports that it was dropped.
struct Guard(Reports);

impl Drop for Guard {
    fn drop(&mut self) {
        let _gone = self.0.send("dropped".to_owned());
    }
}

struct Unary {
    method: String,
    reports: Reports,
}

impl UnaryService<String> for Unary {
    type Response = String;
    type Future = BoxFuture<'static, Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let (method, reports) = (self.method.clone(), self.reports.clone());
        async move {
            for name in ["x-request-id", "grpc-timeout", "te", "content-type"] {
                let value = request.metadata().get(name).and_then(|value| value.to_str().ok());
                let _gone = reports.send(format!("{name}: {}", value.unwrap_or_default()));
            }
            match method.as_str() {
                "Echo" => Ok(Response::new(request.into_inner())),
                "Replayed" => {
                    let mut response = Response::new(String::new());
                    response.metadata_mut().insert("idempotency-replayed", "true".parse().expect("ASCII"));
                    Ok(response)
                }
                "Repeat" => {
                    // So many times 1 MiB.
                    let count: usize = request.into_inner().parse().expect("a number");
                    Ok(Response::new("x".repeat(count << 20)))
                }
                "Refuse" => Err(refusal()),
                "Never" => {
                    let _guard = Guard(reports);
                    pending().await
                }
                other => Err(Status::unimplemented(other.to_owned())),
            }
        }
        .boxed()
    }
}

/// An error with details.
pub(crate) fn refusal() -> Status {
    Status::with_details(Code::FailedPrecondition, "no, because \"é\"", b"\x08\x09details".to_vec().into())
}

struct List {
    method: String,
    reports: Reports,
}

impl ServerStreamingService<String> for List {
    type Response = String;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Result<Response<Messages>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let first =
            stream::iter(request.into_inner().split(' ').map(|word| Ok(word.to_owned())).collect::<Vec<_>>());
        let messages = if self.method == "Endless" {
            let guard = Guard(self.reports.clone());
            let rest = stream::once(async move {
                let _guard = guard;
                pending().await
            });
            first.chain(rest).boxed()
        } else {
            first.chain(stream::iter([Err(refusal())])).boxed()
        };
        async { Ok(Response::new(messages)) }.boxed()
    }
}

struct Count;

impl ClientStreamingService<String> for Count {
    type Response = String;
    type Future = BoxFuture<'static, Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let mut messages = request.into_inner();
        async move {
            let mut found = Vec::new();
            while let Some(message) = messages.message().await? {
                found.push(message);
            }
            // What is ready at once is no proof that anybody waits.
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(Response::new(found.join("+")))
        }
        .boxed()
    }
}
