//! Which database: a URL that is known to be one of the two kinds, and shows no password.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use sea_orm::sqlx::postgres::PgConnectOptions;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// `postgres://…`, or `sqlite:PATH` (also `sqlite://PATH`).
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A file of this process.
    Sqlite(SqliteFile),
    /// A database of a PostgreSQL server.
    Postgres(PostgresUrl),
}

/// A SQLite database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is made when it is missing.
    pub create: bool,
}

/// The URL of a PostgreSQL database, with the password.
#[derive(Clone)]
pub struct PostgresUrl {
    text: SecretString,
    shown: String,
}

/// The text names no database that is supported. Nothing of the text is in the message: a part of a password may be anywhere in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownDatabase {
    /// Neither of the two.
    #[error("expected `postgres://USER:PASSWORD@HOST:PORT/DATABASE` or `sqlite:PATH`")]
    Kind,
    /// No URL.
    #[error("not a URL of PostgreSQL: {0}; `@ / ? # %` in a password are written %40 %2F %3F %23 %25")]
    Malformed(&'static str),
    /// A parameter that the driver does not know.
    #[error("a parameter after the `?` is not one of {}", POSTGRES_PARAMETERS.join(", "))]
    Parameter,
    /// A parameter of a SQLite file.
    #[error(
        "{0}; known are mode=rwc (the default: the file is made when it is missing), mode=rw and cache=private"
    )]
    File(&'static str),
}

/// What the driver takes: it warns of anything else, with its value.
const POSTGRES_PARAMETERS: [&str; 19] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "options[NAME]",
];

/// Those of them that name a file of authorities.
const AUTHORITIES: [&str; 3] = ["sslrootcert", "ssl-root-cert", "ssl-ca"];

impl DatabaseUrl {
    /// The SQLite database in this file, which is made when it is missing.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self::Sqlite(SqliteFile { path: path.to_owned(), create: true })
    }

    /// All of it, the password included.
    #[must_use]
    pub fn expose(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.path.display()),
            Self::Postgres(url) => url.expose().to_owned(),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = UnknownDatabase;

    fn from_str(text: &str) -> Result<Self, UnknownDatabase> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return text.parse().map(Self::Postgres);
        }
        let rest = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:"));
        sqlite(rest.ok_or(UnknownDatabase::Kind)?).map(Self::Sqlite)
    }
}

/// As sqlx and others write it, `PATH?mode=rwc&cache=private`, as far as a durable database of one process can have it.
fn sqlite(text: &str) -> Result<SqliteFile, UnknownDatabase> {
    let (path, parameters) = text.split_once('?').unwrap_or((text, ""));
    let mut file = SqliteFile { path: path.into(), create: true };
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter {
            "mode=rwc" => file.create = true,
            "mode=rw" => file.create = false,
            "cache=private" => {}
            "mode=ro" => return Err(UnknownDatabase::File("a service writes: mode=ro is not possible")),
            "mode=memory" => return Err(UnknownDatabase::File(IN_MEMORY)),
            "cache=shared" => {
                return Err(UnknownDatabase::File("connections that share a cache lock each other out"));
            }
            _ => return Err(UnknownDatabase::File("a parameter after the `?` is not known")),
        }
    }
    if path.contains(":memory:") {
        return Err(UnknownDatabase::File(IN_MEMORY));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(UnknownDatabase::File("the path names no file"));
    }
    Ok(file)
}

const IN_MEMORY: &str = "a database in memory would lose what it promised to keep";

impl FromStr for PostgresUrl {
    type Err = UnknownDatabase;

    fn from_str(text: &str) -> Result<Self, UnknownDatabase> {
        let url = Url::parse(text).map_err(|error| UnknownDatabase::Malformed(reason(error)))?;
        // So a password that is not encoded is read as a port and more.
        if url.path().contains('@') || url.fragment().is_some() {
            return Err(UnknownDatabase::Malformed("the password or the database is not encoded"));
        }
        let known = |name: &str| POSTGRES_PARAMETERS.contains(&name) || name.starts_with("options[");
        if !url.query_pairs().all(|(name, _)| known(&name)) {
            return Err(UnknownDatabase::Parameter);
        }
        let server: PgConnectOptions = text
            .parse()
            .map_err(|_the_value_is_in_it| UnknownDatabase::Malformed("a parameter has a wrong value"))?;
        let host = match server.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => server.get_host().to_owned(),
        };
        let (user, port) = (server.get_username(), server.get_port());
        let database = server.get_database().unwrap_or(user);
        let shown = format!("postgres://{user}@{host}:{port}/{database}");
        Ok(Self { text: text.into(), shown })
    }
}

/// The parser's errors have no part of the text, and a version that has one must not show it.
fn reason(error: url::ParseError) -> &'static str {
    match error {
        url::ParseError::InvalidPort => "the port is no number",
        url::ParseError::EmptyHost => "the host is missing",
        url::ParseError::InvalidIpv4Address | url::ParseError::InvalidIpv6Address => "the host is no address",
        _ => "it cannot be read",
    }
}

impl PostgresUrl {
    /// All of it, the password included.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// The file with the authorities of its server's certificate, if it names one. The driver reads it.
    #[must_use]
    pub fn authorities(&self) -> Option<PathBuf> {
        let url = Url::parse(self.expose()).ok()?;
        let files = url.query_pairs().filter(|(name, _)| AUTHORITIES.contains(&&**name));
        files.last().map(|(_, file)| PathBuf::from(&*file))
    }
}

/// Scheme, user, host, port and database, as they are used: for logs and errors.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Without the password, for logs and errors.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.path.display()),
            Self::Postgres(url) => url.fmt(f),
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
    fn no_password_is_shown() {
        for (text, shown) in [
            ("postgres://shop:hidden@db:5432/orders?sslmode=require", "postgres://shop@db:5432/orders"),
            ("postgresql://shop:hid@den@db/orders", "postgres://shop@db:5432/orders"),
            ("postgres://shop@db/orders?password=hidden&host=/run/pg", "postgres://shop@/run/pg:5432/orders"),
        ] {
            let url: DatabaseUrl = text.parse().expect(text);
            assert_eq!(format!("{url} {url:?}"), format!("{shown} {shown}"));
            assert_eq!(url.expose(), text);
        }
    }

    #[test]
    fn what_is_refused_is_not_quoted() {
        for text in [
            "postgres://o:hidden",
            "postgres://o:12/hidden@db/orders",
            "postgres://o:12?hidden@db/orders",
            "postgres://o:12#hidden@db/orders",
            "postgres://o:p@db:hidden/orders",
            "postgres://o:p@db/orders?passwd=hidden",
            "postgres://o:p@db/orders?sslmode=hidden",
            "mysql://o:hidden@db",
            "hidden",
        ] {
            let error = text.parse::<DatabaseUrl>().expect_err(text);
            assert!(!format!("{error} {error:?}").contains("hidden"), "{text}: {error}");
        }
    }

    #[test]
    fn only_durable_databases_are_taken() {
        for (text, path, create) in [
            ("sqlite:data/orders.db", "data/orders.db", true),
            ("sqlite:///var/o.db", "/var/o.db", true),
            ("sqlite:orders.db?mode=rwc", "orders.db", true),
            ("sqlite://orders.db?mode=rw&cache=private", "orders.db", false),
        ] {
            let Ok(DatabaseUrl::Sqlite(file)) = text.parse() else { panic!("{text}") };
            assert_eq!(file, SqliteFile { path: path.into(), create }, "{text}");
        }
        for (text, word) in [
            ("", "expected"),
            ("mysql://h/d", "expected"),
            ("orders.db", "expected"),
            ("sqlite:", "no file"),
            ("sqlite:folder/", "no file"),
            ("sqlite::memory:", "memory"),
            ("sqlite:x?mode=memory", "memory"),
            ("sqlite:x?mode=ro", "writes"),
            ("sqlite:x?cache=shared", "cache"),
            ("sqlite:x?immutable=1", "not known"),
            ("sqlite:x?mode=rwx", "not known"),
        ] {
            let error = text.parse::<DatabaseUrl>().expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
