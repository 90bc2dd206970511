//! Counts the calls of a listener by method and code, from their head to their status.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Frame, SizeHint};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::contract::Contract;
use chassis::metrics::{Call, Calls};

/// What every listener serves beside its contract.
const HEALTH: [&str; 2] = ["grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"];

/// Wraps the routes of a listener, outside of the span of each call.
#[derive(Debug, Clone)]
pub(super) struct Counted(Arc<Calls>);

impl Counted {
    /// For the methods of a contract.
    ///
    /// # Errors
    /// When its descriptor sets cannot be read.
    pub(super) fn of(contract: &Contract) -> anyhow::Result<Self> {
        let mut methods: Vec<String> = HEALTH.map(str::to_owned).into();
        let sets = contract.descriptor_sets.iter().map(|set| FileDescriptorSet::decode(*set));
        for file in sets.collect::<Result<Vec<_>, _>>()?.iter().flat_map(|set| &set.file) {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                if contract.services.contains(&name) {
                    methods.extend(service.method.iter().map(|method| format!("{name}/{}", method.name())));
                }
            }
        }
        Ok(Self(Arc::new(Calls::of(contract.name, methods))))
    }
}

impl<S> Layer<S> for Counted {
    type Service = Counting<S>;

    fn layer(&self, routes: S) -> Counting<S> {
        Counting { routes, calls: Arc::clone(&self.0) }
    }
}

/// Routes whose calls are counted.
#[derive(Debug, Clone)]
pub(super) struct Counting<S> {
    routes: S,
    calls: Arc<Calls>,
}

impl<S, B, R> Service<Request<B>> for Counting<S>
where
    S: Service<Request<B>, Response = Response<R>, Future: Send + 'static>,
{
    type Response = Response<CountedBody<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.routes.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut call = Call::begin(self.calls.method(request.uri().path()));
        let answer = self.routes.call(request);
        Box::pin(async move {
            let response = answer.await?;
            note(&mut call, response.headers());
            Ok(response.map(|body| CountedBody { body, call }))
        })
    }
}

/// A status among headers or trailers is the end of a call.
fn note(call: &mut Call, headers: &HeaderMap) {
    if let Some(code) = headers.get(Status::GRPC_STATUS) {
        call.end(Code::from_bytes(code.as_bytes()));
    }
}

/// The answer to a call, which ends with its status, or when nobody wants it any more.
#[derive(Debug)]
pub(super) struct CountedBody<B> {
    body: B,
    call: Call,
}

impl<B: Body + Unpin> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            note(&mut self.call, trailers);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
