//! What every process of the mesh is: settings, telemetry, lifecycle, TLS, the admin listener, the table of errors, and the only
//! clock. It knows no service, no database and no broker.

pub mod version;
pub mod clock;
pub mod redact;
pub mod settings;
pub mod secret;
pub mod start;
pub mod signals;
pub mod telemetry;
pub mod trace;
pub mod background;
pub mod lifecycle;
pub mod readiness;
pub mod status;
pub mod health;
pub mod problem;
pub mod media;
pub mod page;
pub mod catalogue;
pub mod metadata;
pub mod deadline;
pub mod peer;
pub mod host;
pub mod accept;
pub mod tls;
pub mod admin;
pub mod metrics;

mod otlp;
