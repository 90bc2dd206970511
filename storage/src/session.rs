//! How sessions with a PostgreSQL server begin: started with their settings, or given them by statements where a pooler in between takes
//! none at the start; and how their transactions begin, which are given them where a session keeps nothing.

use sea_orm::sqlx::{
    self, AssertSqlSafe, Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

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

/// What is between a session and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Between {
    /// Nothing, or what hands everything on.
    Nothing,
    /// A pooler that hands on no settings. Each session keeps its process of the server.
    Pooler,
    /// Perhaps a pooler that gives each transaction another process of the server.
    Transactions,
}

impl Between {
    /// What a transaction has of this setting of its session.
    pub(crate) fn in_a_transaction(self, (name, value): (&str, &str)) -> (String, String) {
        let name = match self {
            // What is the default of a session has no effect on a transaction that has begun.
            Self::Transactions => name.strip_prefix("default_").unwrap_or(name),
            Self::Nothing | Self::Pooler => name,
        };
        (name.to_owned(), value.to_owned())
    }
}

/// A server, and how sessions with it begin.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    options: PgConnectOptions,
    /// The first statements of each.
    settings: Option<String>,
    /// The first statements of each transaction, where a session keeps nothing.
    transaction: Option<String>,
}

impl Sessions {
    /// Those with these settings and the [`COMMON`] ones.
    pub(crate) fn new(server: &PgConnectOptions, between: Between, settings: &[(&str, &str)]) -> Self {
        let mut all: Vec<(&str, &str)> = COMMON.to_vec();
        if between != Between::Transactions {
            all.extend(OVER_TCP);
        }
        all.extend_from_slice(settings);
        match between {
            Between::Nothing => {
                let options = server.clone().application_name("ordermesh").statement_cache_capacity(PREPARED);
                Self { options: options.options(all), settings: None, transaction: None }
            }
            Between::Pooler => {
                let set: Vec<String> =
                    all.iter().map(|(name, value)| format!("SET {name} = '{value}'")).collect();
                Self { settings: Some(set.join("; ")), ..Self::plain(server) }
            }
            Between::Transactions => {
                let set = all.into_iter().map(|setting| between.in_a_transaction(setting));
                let set: Vec<String> =
                    set.map(|(name, value)| format!("SET LOCAL {name} = '{value}'")).collect();
                Self { transaction: Some(format!("BEGIN; {}", set.join("; "))), ..Self::plain(server) }
            }
        }
    }

    /// Those without any setting: what every pooler takes.
    pub(crate) fn plain(server: &PgConnectOptions) -> Self {
        let options = server.clone().application_name("ordermesh").statement_cache_capacity(PREPARED);
        // PgBouncer refuses it unless it is configured to drop it. From PostgreSQL 12 on numbers are exact without it.
        Self { options: options.extra_float_digits(None), settings: None, transaction: None }
    }

    /// Whether a session keeps its settings and its prepared statements, and can listen.
    pub(crate) const fn keep_anything(&self) -> bool {
        self.transaction.is_none()
    }

    /// How a transaction begins, in one round trip.
    pub(crate) fn begin_transaction(&self) -> &str {
        self.transaction.as_deref().unwrap_or("BEGIN")
    }

    /// Begins one.
    pub(crate) async fn begin(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        if let Some(settings) = &self.settings {
            connection.execute(AssertSqlSafe(settings.clone())).await?;
        }
        Ok(connection)
    }

    /// A pool of sqlx's of one of them, for who takes nothing else, and what it connects with.
    pub(crate) fn pool(&self) -> (PgPoolOptions, PgConnectOptions) {
        let settings = self.settings.clone();
        let one = PgPoolOptions::new().max_connections(1).after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(async move {
                if let Some(settings) = settings {
                    connection.execute(AssertSqlSafe(settings)).await?;
                }
                Ok(())
            })
        });
        (one, self.options.clone())
    }
}
