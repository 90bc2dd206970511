//! What storage counts. Metrics go to whichever recorder of the crate `metrics` the process has installed, and nowhere without one.

use metrics::{counter, describe_counter};
use sea_orm::{DbBackend, sqlx};

use crate::failure::kind;

const FAILURES: &str = "db_client_operation_failures_total";
const TIMEOUTS: &str = "db_client_connection_timeouts_total";

/// A statement has failed, or an attempt to connect.
pub(crate) fn failed(backend: DbBackend, error: &sqlx::Error) {
    describe_counter!(FAILURES, "statements and connects that failed, by what that means");
    counter!(FAILURES, "db_system_name" => system(backend), "error_type" => kind(error)).increment(1);
}

/// Nobody gave a connection back in time.
pub(crate) fn no_connection(backend: DbBackend) {
    describe_counter!(TIMEOUTS, "statements that have waited for a free connection in vain");
    counter!(TIMEOUTS, "db_system_name" => system(backend)).increment(1);
}

/// A name of the semantic conventions of OpenTelemetry.
fn system(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "postgresql",
        DbBackend::Sqlite => "sqlite",
        _ => "other_sql",
    }
}
