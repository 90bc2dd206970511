//! What every service with a database is: the gRPC listener and the threads of its process, the checks of requests, lists (pages, tokens,
//! filters), readiness, and what an operator asks about its messages. It knows no single service.

pub mod runtime;
pub mod grpc;
pub mod bearer;
pub mod request;
pub mod filter;
pub mod page;
pub mod readiness;
pub mod admin;
