//! The settings of sessions, with which they are started.

use sea_orm::sqlx::postgres::PgConnectOptions;

/// Prepared statements cached per connection. On SQLite batches of every size are statements of their own.
pub(crate) const PREPARED: usize = 512;

/// Of a session with PostgreSQL.
pub(crate) type Setting = (&'static str, &'static str);

/// Those of every session.
pub(crate) const COMMON: [Setting; 3] = [
    ("lock_timeout", "5s"),
    // A transaction whose process hangs must not hold its locks for ever.
    ("idle_in_transaction_session_timeout", "30s"),
    // The conditional writes rest on it: a stricter level would fail them where they should meet what another one committed.
    ("default_transaction_isolation", "read committed"),
];

/// With which the server finds out that the machine of a session is gone, and gives its locks back. They are not for Unix sockets; sqlx
/// offers neither for this side of a connection.
const OVER_TCP: [Setting; 4] = [
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20s"),
];

/// A session with these settings and the [`COMMON`] ones.
pub(crate) fn with(server: PgConnectOptions, settings: &[Setting]) -> PgConnectOptions {
    server
        .application_name("ordermesh")
        .statement_cache_capacity(PREPARED)
        .options(COMMON.iter().chain(&OVER_TCP).chain(settings).copied())
}
