//! An edge on a port of its own, and a client of it.

use bytes::Bytes;
use gateway::{Config, Edge, Upstreams};
use http::{Method, StatusCode};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::upstream::Upstream;

/// A running edge.
pub(crate) struct World {
    pub url: String,
    client: Client,
    stop: CancellationToken,
    edge: JoinHandle<anyhow::Result<()>>,
}

impl World {
    /// An edge for the built-in services, both at this upstream.
    pub(crate) async fn of(upstream: &Upstream) -> Self {
        Self::with(Config::builtin(upstream.url(), upstream.url())).await
    }

    /// An edge for the services of `transcode/tests/proto/shapes.proto`.
    pub(crate) async fn of_shapes(upstream: &Upstream) -> Self {
        Self::with(shapes(&upstream.url())).await
    }

    /// An edge with these settings.
    pub(crate) async fn with(config: Config) -> Self {
        let edge = Edge::from_config(config).expect("no errors");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound listener"));
        let stop = CancellationToken::new();
        let edge = tokio::spawn(gateway::serve(listener, edge, stop.clone()));
        Self { url, client: Client::new(), stop, edge }
    }

    /// A request to be completed.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Sends JSON text as it is.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &str) -> Response {
        let request =
            self.request(method, path).header("content-type", "application/json").body(body.to_owned());
        request.send().await.expect("the edge answers")
    }

    /// Asks for a path.
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request("GET", path).send().await.expect("the edge answers")
    }

    /// Asks the edge to stop.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for the edge to stop.
    pub(crate) async fn stopped(self) {
        drop(self.client);
        self.edge.await.expect("no panic").expect("the edge ends well");
    }
}

/// Settings for the services of `transcode/tests/proto/shapes.proto`.
pub(crate) fn shapes(url: &str) -> Config {
    let folders = ["../transcode/tests/proto", "../proto"]
        .map(|folder| format!("{}/{folder}", env!("CARGO_MANIFEST_DIR")));
    let mut compiler = protox::Compiler::new(folders).expect("the folders are there");
    compiler.include_imports(true).open_file("shapes.proto").expect("a valid contract");
    Config {
        descriptor_set: Bytes::from(compiler.encode_file_descriptor_set()),
        upstreams: Upstreams::One(url.into()),
        ..Config::builtin("http://unused", "http://unused")
    }
}

/// The body of an answer with this status.
pub(crate) async fn json(response: Response, status: StatusCode) -> Value {
    let found = response.status();
    let body = response.text().await.expect("a body");
    assert_eq!(found, status, "{body}");
    serde_json::from_str(&body).expect("a JSON body")
}

/// The reason in an error's body.
pub(crate) fn reason(error: &Value) -> &str {
    error["error"]["details"][0]["reason"].as_str().unwrap_or_default()
}

/// The stream of events has begun: this comment comes before anything that happens.
pub(crate) async fn opened(response: &mut Response) {
    assert_eq!(response.chunk().await.expect("a stream").as_deref(), Some(&b": open\n"[..]));
}
