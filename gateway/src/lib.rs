//! The edge: HTTP/JSON in, gRPC out. One code path for every service, and everything it knows comes from descriptors.
//!
//! ```text
//! serve ── front ── answer ── transcode::Routes ── transcode ── upstream ── the service
//!                                    │                    │
//!                          (trie of templates)   (path, query, body ⇄ wire bytes)
//! ```

pub mod settings;
pub mod edge;
mod routes;
pub mod serve;
pub mod threads;
pub mod discovery;
mod activity;
mod metrics;
mod open_files;
mod front;
mod cors;
mod admit;
mod docs;
mod answer;
mod headers;
mod timeout;
mod body;
mod upstream;
mod pool;
mod pools;
mod resolve;
mod channel;
mod unary;
mod retry;
mod etag;
mod stream;
mod grpc;
mod problem;
mod outcome;

pub use self::{
    edge::Edge,
    resolve::{Resolver, SystemResolver},
    serve::serve,
    settings::{Config, Settings, Upstreams},
    threads::serve_on_threads,
    timeout::Timeout,
};
