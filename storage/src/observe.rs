//! What storage counts. Metrics go to whichever recorder of the crate `metrics` the process has installed, and nowhere without one.

use metrics::{counter, describe_counter};
use sea_orm::{DbBackend, sqlx};

use crate::{connections::Usage, database::Database, failure::kind};

const FAILURES: &str = "db_client_operation_failures_total";
const TIMEOUTS: &str = "db_client_connection_timeouts_total";

impl Database {
    /// Who says how the connections of each kind are used; of none any more once the database is gone.
    pub fn usage(&self) -> impl Fn() -> Vec<(&'static str, Usage)> + Send + use<> {
        let kinds: Vec<_> =
            self.kinds().into_iter().map(|(kind, connections)| (kind, connections.usage())).collect();
        move || kinds.iter().filter_map(|(kind, usage)| Some((*kind, usage()?))).collect()
    }
}

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
