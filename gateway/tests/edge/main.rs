//! The edge from outside: real connections on both sides, a scripted service behind it.

mod world;
mod upstream;
mod orders;
mod requests;
mod errors;
mod calls;
mod streams;
mod sockets;
mod payloads;
mod build;
mod connections;
mod conformance;
mod repeats;
mod raw;
mod endpoints;
mod grpc;
mod heads;
mod hops;
mod limits;
mod coding;
mod tls;
mod hostile;
mod discovery;
