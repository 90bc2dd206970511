//! What storage counts. Metrics go to whichever recorder of the crate `metrics` the process has installed, and nowhere without one.

use metrics::{counter, describe_counter};
use sea_orm::{DbBackend, sqlx};

use crate::failure::{KINDS, kind};

const FAILURES: &str = "db_client_operation_failures_total";
const TIMEOUTS: &str = "db_client_connection_timeouts_total";

/// Begins the counters of a database: an alarm cannot distinguish an absent number from one that never rises.
pub(crate) fn begin(backend: DbBackend) {
    describe_counter!(FAILURES, "statements and connects that failed, by what that means");
    describe_counter!(TIMEOUTS, "statements that have waited for a free connection in vain");
    for kind in KINDS {
        counter!(FAILURES, "db_system_name" => system(backend), "error_type" => kind).increment(0);
    }
    counter!(TIMEOUTS, "db_system_name" => system(backend)).increment(0);
}

/// A statement has failed, or an attempt to connect.
pub(crate) fn failed(backend: DbBackend, error: &sqlx::Error) {
    counter!(FAILURES, "db_system_name" => system(backend), "error_type" => kind(error)).increment(1);
}

/// Nobody gave a connection back in time.
pub(crate) fn no_connection(backend: DbBackend) {
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
