//! Which database: a URL that is known to be one of the two kinds.

use std::{fmt, path::Path, str::FromStr};

/// `postgres://…`, or `sqlite:PATH` (also `sqlite://PATH`).
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file of this process.
    Sqlite(String),
    /// A database of a PostgreSQL server.
    Postgres(String),
}

impl DatabaseUrl {
    /// The SQLite database in this file, which is made when it is missing.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self::Sqlite(path.display().to_string())
    }
}

/// The text names no database that is supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `postgres://USER:PASSWORD@HOST:PORT/DATABASE` or `sqlite:PATH`")]
pub struct UnknownDatabase;

impl FromStr for DatabaseUrl {
    type Err = UnknownDatabase;

    fn from_str(text: &str) -> Result<Self, UnknownDatabase> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let path =
            text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")).ok_or(UnknownDatabase)?;
        // A database in memory would lose what it promised to keep.
        if path.is_empty() || path.contains(":memory:") || path.contains("?mode=memory") {
            return Err(UnknownDatabase);
        }
        Ok(Self::Sqlite(path.to_owned()))
    }
}

/// Without credentials, for logs.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{path}"),
            Self::Postgres(url) => {
                let place = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
                let place = place.split_once('@').map_or(place, |(_, place)| place);
                write!(f, "postgres://{}", place.split('?').next().unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_show_no_password() {
        let url: DatabaseUrl =
            "postgres://shop:secret@db:5432/orders?sslmode=require".parse().expect("a PostgreSQL URL");
        assert_eq!(url.to_string(), "postgres://db:5432/orders");
        assert_eq!(format!("{url:?}"), "postgres://db:5432/orders");
    }

    #[test]
    fn only_durable_databases_are_taken() {
        assert_eq!("sqlite:data/orders.db".parse(), Ok(DatabaseUrl::Sqlite("data/orders.db".into())));
        assert_eq!("sqlite:///var/o.db".parse(), Ok(DatabaseUrl::Sqlite("/var/o.db".into())));
        for text in ["", "sqlite:", "sqlite::memory:", "sqlite:x?mode=memory", "mysql://h/d", "orders.db"] {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(UnknownDatabase), "{text}");
        }
    }
}
