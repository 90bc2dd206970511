//! What every process of the mesh is: settings, telemetry, lifecycle, the gRPC and the admin listener, the table of errors, and
//! the only clock. It knows no service, no database and no broker.

pub mod clock;
pub mod settings;
pub mod secret;
pub mod start;
pub mod signals;
pub mod telemetry;
pub mod trace;
pub mod runtime;
pub mod lifecycle;
pub mod readiness;
pub mod status;
pub mod request;
pub mod deadline;
pub mod filter;
pub mod accept;
pub mod grpc;
pub mod bearer;
pub mod admin;
pub mod metrics;

mod otlp;
