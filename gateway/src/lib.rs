//! The edge: HTTP/JSON in, gRPC out. One code path for every service, and everything it knows comes from descriptors.
//!
//! ```text
//! serve ── front ── handle ── transcode::Routes ── transcode ── upstream ── the service
//!                                    │                    │
//!                          (trie of templates)   (path, query, body ⇄ wire bytes)
//! ```
//!
//! # In front of any tonic server
//!
//! Descriptors with `google.api.http`, and where the service is: at a URL, or in the same process.
//!
//! ```
//! use gateway::{Config, Edge, Local, Upstreams};
//! use tokio::net::TcpListener;
//! use tokio_util::sync::CancellationToken;
//!
//! # mod library {
//! #     use std::{convert::Infallible, task::{Context, Poll}};
//! #     use futures_util::{FutureExt as _, future::{BoxFuture, Ready, ready}};
//! #     use tonic::{Request, Response, Status, body::Body, server::{Grpc, NamedService, UnaryService}};
//! #     #[derive(Clone, PartialEq, prost::Message)]
//! #     pub struct AddBookRequest {
//! #         #[prost(string, tag = "1")]
//! #         pub shelf: String,
//! #         #[prost(message, optional, tag = "2")]
//! #         pub book: Option<Book>,
//! #     }
//! #     #[derive(Clone, PartialEq, prost::Message)]
//! #     pub struct Book {
//! #         #[prost(string, tag = "1")]
//! #         pub title: String,
//! #         #[prost(int64, tag = "2")]
//! #         pub pages: i64,
//! #     }
//! #     #[derive(Clone)]
//! #     pub struct LibraryServer;
//! #     impl NamedService for LibraryServer {
//! #         const NAME: &'static str = "library.v1.Library";
//! #     }
//! #     impl UnaryService<AddBookRequest> for LibraryServer {
//! #         type Response = Book;
//! #         type Future = Ready<Result<Response<Book>, Status>>;
//! #         fn call(&mut self, request: Request<AddBookRequest>) -> Self::Future {
//! #             ready(request.into_inner().book.map(Response::new).ok_or(Status::invalid_argument("no book")))
//! #         }
//! #     }
//! #     impl tower::Service<http::Request<Body>> for LibraryServer {
//! #         type Response = http::Response<Body>;
//! #         type Error = Infallible;
//! #         type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;
//! #         fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
//! #             Poll::Ready(Ok(()))
//! #         }
//! #         fn call(&mut self, request: http::Request<Body>) -> Self::Future {
//! #             let codec = tonic_prost::ProstCodec::default();
//! #             async { Ok(Grpc::new(codec).unary(LibraryServer, request).await) }.boxed()
//! #         }
//! #     }
//! # }
//! # use library::LibraryServer;
//! # #[tokio::main]
//! # async fn main() -> anyhow::Result<()> {
//! # let mut compiler = protox::Compiler::new(["../transcode/tests/proto", "../proto"])?;
//! # let set = compiler.include_imports(true).open_file("library.proto")?.encode_file_descriptor_set();
//! let server = tonic::service::Routes::new(LibraryServer);
//! let config = Config {
//!     descriptor_set: set.into(),
//!     upstreams: Upstreams::One(Local::new(server.prepare()).into()),
//!     ..Config::default()
//! };
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let url = format!("http://{}/v1/shelves/sea/books", listener.local_addr()?);
//! let stop = CancellationToken::new();
//! let serving = tokio::spawn(gateway::serve(listener, Edge::from_config(config)?, stop.clone()));
//!
//! let book = serde_json::json!({ "title": "Moby-Dick", "pages": "635" });
//! let answer = reqwest::Client::new().post(url).json(&book).send().await?;
//! assert_eq!(answer.json::<serde_json::Value>().await?, book);
//! stop.cancel();
//! serving.await?
//! # }
//! ```

pub mod settings;
mod metrics;
mod identity;
mod request;
mod wire;
mod aside;
mod answer;
mod admit;
mod documents;
mod contract;
pub mod edge;
mod trust;
mod stream;
mod messages;
mod grpc;
mod connect;
mod handle;
pub mod serve;
pub mod discovery;

pub use self::{
    edge::Edge,
    serve::{serve, threads::serve_on_threads},
    settings::{Config, ORDERS, PAYMENTS, ServingSettings, Settings, Upstreams, timeout::Timeout},
    trust::Trust,
};
pub use upstream::{Local, Location, Resolver, SystemResolver};
