//! A gRPC service of every name, whose answers a test scripts.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use ::world::Raw;
use axum::extract::Request;
use bytes::Bytes;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Response, Status,
    metadata::MetadataMap,
    server::{Grpc, ServerStreamingService},
    service::Routes,
    transport::Server,
};

/// One call as the service saw it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `/package.Service/Method`.
    pub path: String,
    pub metadata: MetadataMap,
    pub wire: Bytes,
}

pub(crate) type Messages = BoxStream<'static, Result<Bytes, Status>>;
pub(crate) type Reply = Result<Response<Messages>, Status>;

/// A reply of one message.
pub(crate) fn one(message: &impl prost::Message) -> Reply {
    Ok(Response::new(stream::iter([Ok(message.encode_to_vec().into())]).boxed()))
}

/// A reply that is the request again.
pub(crate) fn echo(call: &Call) -> Reply {
    Ok(Response::new(stream::iter([Ok(call.wire.clone())]).boxed()))
}

type Script = Arc<dyn Fn(Call) -> BoxFuture<'static, Reply> + Send + Sync>;

/// A running service.
pub(crate) struct Upstream {
    pub address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Starts a service on a port of its own.
    pub(crate) async fn start<F: Future<Output = Reply> + Send + 'static>(
        script: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::start_on(listener, script)
    }

    /// Starts a service on this listener.
    pub(crate) fn start_on<F: Future<Output = Reply> + Send + 'static>(
        listener: TcpListener,
        script: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Server::builder(), Routes::default(), listener, script)
    }

    /// Starts a service on this listener that answers all that the services of `routes` do not.
    pub(crate) fn beside<F: Future<Output = Reply> + Send + 'static>(
        routes: Routes,
        listener: TcpListener,
        script: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Server::builder(), routes, listener, script)
    }

    /// Starts a service on this listener, with a server's settings and beside other services.
    pub(crate) fn start_with<F: Future<Output = Reply> + Send + 'static>(
        mut server: Server,
        routes: Routes,
        listener: TcpListener,
        script: impl Fn(Call) -> F + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a bound listener");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let scripted =
            Scripted { script: Arc::new(move |call| script(call).boxed()), calls: Arc::clone(&calls) };
        let router = routes.into_axum_router().fallback(move |request: Request| {
            let scripting = Scripting { scripted: scripted.clone(), path: request.uri().path().to_owned() };
            async move {
                // gRPC's own services are there only as far as `routes` has them.
                if scripting.path.starts_with("/grpc.") {
                    return Status::unimplemented("no such service").into_http();
                }
                Grpc::new(Raw).server_streaming(scripting, request).await
            }
        });
        let stop = CancellationToken::new();
        let server = server
            .add_routes(Routes::from(router))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.clone().cancelled_owned());
        let server = tokio::spawn(server.map(|outcome| outcome.expect("the listener works")));
        Self { address, calls, stop, server }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every call so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no test panics with it").clone()
    }

    /// The only call so far.
    pub(crate) fn call(&self) -> Call {
        let calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls[0].clone()
    }

    /// Ends the service; its port is free then.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.server.await.expect("the server ends");
    }
}

#[derive(Clone)]
struct Scripted {
    script: Script,
    calls: Arc<Mutex<Vec<Call>>>,
}

struct Scripting {
    scripted: Scripted,
    path: String,
}

impl ServerStreamingService<Bytes> for Scripting {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = BoxFuture<'static, Reply>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (metadata, _, wire) = request.into_parts();
        let call = Call { path: self.path.clone(), metadata, wire };
        self.scripted.calls.lock().expect("no test panics with it").push(call.clone());
        (self.scripted.script)(call)
    }
}
