//! The settings of `ordermesh up`: all of it in one process, on embedded defaults.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use chassis::{
    secret::{self, ExposeSecret as _, SecretString, SecretUrl},
    settings::{Checked, Mistakes, content},
    telemetry::LogSettings,
};
use orders::settings::SHORTEST_TTL;
use storage::{DatabaseUrl, Limits, limits::SHORTEST_STATEMENT_TIMEOUT};

/// Orders and payments that can be trusted with money. Without a command: `up`.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "ordermesh", version, about, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The settings of `up`, which is what happens without a command
    #[command(flatten)]
    pub(crate) up: Settings,
}

/// What the binary does.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Command {
    /// Runs the edge, orders and payments in this process
    Up(Box<Settings>),
    /// Brings the schemas of both databases up to date and ends: exit status 0 when they are. For roles that may create tables, when the
    /// services' own may not. Harmless when nothing is to be done, and beside others that do the same
    Migrate {
        #[command(flatten)]
        databases: Box<DatabaseSettings>,
        #[command(flatten)]
        logs: LogSettings,
    },
    /// Verifies the books of a mesh at rest: exit status 0, or 1 when an invariant is broken
    Check(crate::check::Arguments),
    /// Asks the running process whether it is ready: exit status 0 or 1
    Healthcheck {
        /// Where the process serves /readyz
        #[arg(long, env = "ADMIN_LISTEN", default_value = "127.0.0.1:9090")]
        admin: SocketAddr,
    },
}

/// Flags of `up`, with an environment variable each.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) databases: DatabaseSettings,
    /// Where HTTP/JSON is served; port 0 takes a free one
    #[arg(long, env = "GATEWAY_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) http: Checked<SocketAddr>,
    /// Where the orders service serves gRPC
    #[arg(long, env = "ORDERS_LISTEN", default_value = "127.0.0.1:5001")]
    pub(crate) orders_grpc: Checked<SocketAddr>,
    /// Where the payments service serves gRPC
    #[arg(long, env = "PAYMENTS_LISTEN", default_value = "127.0.0.1:5002")]
    pub(crate) payments_grpc: Checked<SocketAddr>,
    /// Where /livez and /readyz are served
    #[arg(long, env = "ADMIN_LISTEN", default_value = "127.0.0.1:9090")]
    pub(crate) admin: Checked<SocketAddr>,
    /// RabbitMQ, `amqp://USER:PASSWORD@HOST:PORT/VHOST` or amqps; absent: the in-process broker
    #[arg(long, env = "AMQP_URL", value_name = "URL")]
    pub(crate) amqp_url: Option<SecretString>,
    /// A file with the URL of the broker, instead of --amqp-url
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE")]
    pub(crate) amqp_url_file: Option<PathBuf>,
    /// A file with the certificate of the authority behind an `amqps://` broker, in PEM, when it is a private one
    #[arg(long, env = "AMQP_CA", value_name = "FILE")]
    pub(crate) amqp_ca: Option<PathBuf>,
    /// Queues per consumer; the same in every process of the mesh. Fewer are refused while messages wait in the queues beyond
    #[arg(long, env = "PARTITIONS", default_value = "1")]
    pub(crate) partitions: Checked<u16>,
    /// ISO 4217: what an empty `currency_code` means
    #[arg(long, env = "DEFAULT_CURRENCY", default_value = "RUB")]
    pub(crate) default_currency: String,
    /// The bearer token of the admin services; absent: they are not served
    #[arg(long, env = "ADMIN_TOKEN", value_name = "TOKEN")]
    pub(crate) admin_token: Option<SecretString>,
    /// A file with the bearer token of the admin services, instead of --admin-token
    #[arg(long, env = "ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// When an undecided payment is given up after the order was placed, such as `90s` or `10m`
    #[arg(long, env = "ORDER_TTL", default_value = "10m")]
    pub(crate) order_ttl: Checked<humantime::Duration>,
    /// Logging
    #[command(flatten)]
    pub(crate) logs: LogSettings,
}

/// Where the databases are.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DatabaseSettings {
    /// Where the embedded databases live; made when it is missing
    #[arg(long, env = "DATA_DIR", default_value = "./data")]
    pub(crate) data_dir: PathBuf,
    /// The database of orders; absent: SQLite in the data directory
    #[arg(long, env = "ORDERS_DATABASE_URL", value_name = "URL")]
    pub(crate) orders_database_url: Option<SecretString>,
    /// A file with the URL of the database of orders, instead of --orders-database-url
    #[arg(long, env = "ORDERS_DATABASE_URL_FILE", value_name = "FILE")]
    pub(crate) orders_database_url_file: Option<PathBuf>,
    /// The database of payments; absent: SQLite in the data directory
    #[arg(long, env = "PAYMENTS_DATABASE_URL", value_name = "URL")]
    pub(crate) payments_database_url: Option<SecretString>,
    /// A file with the URL of the database of payments, instead of --payments-database-url
    #[arg(long, env = "PAYMENTS_DATABASE_URL_FILE", value_name = "FILE")]
    pub(crate) payments_database_url_file: Option<PathBuf>,
    /// Connections to each database that read, and as many for transactions; a PostgreSQL server sees up to twice this number and 18 of
    /// each service
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value = "8")]
    pub(crate) database_connections: Checked<u32>,
    /// How long migrations wait for locks that others hold, such as `90s`, before the start is given up
    #[arg(long, env = "MIGRATION_WAIT", default_value = "60s")]
    pub(crate) migration_wait: Checked<humantime::Duration>,
    /// How long an attempt at a statement or a transaction may take before its connection is closed, such as `10s`
    #[arg(long, env = "STATEMENT_TIMEOUT", default_value = "10s")]
    pub(crate) statement_timeout: Checked<humantime::Duration>,
}

/// The databases of the mesh.
#[derive(Debug, Clone)]
pub(crate) struct Databases {
    /// Where the embedded ones live, when one is embedded.
    pub(crate) data_dir: Option<PathBuf>,
    /// The database of orders.
    pub(crate) orders: DatabaseUrl,
    /// The database of payments.
    pub(crate) payments: DatabaseUrl,
    /// How much of each the process may use.
    pub(crate) limits: Limits,
}

impl DatabaseSettings {
    /// The databases, or `None` after errors were noted.
    pub(crate) fn check(self, mistakes: &mut Mistakes) -> Option<Databases> {
        let before = mistakes.count();
        let mut database = |value, file, flag| {
            let url = secret::take(value, file, flag, mistakes)?;
            url.expose_secret().parse().map_err(|error| mistakes.note(flag, error)).ok()
        };
        let orders =
            database(self.orders_database_url, self.orders_database_url_file, "--orders-database-url");
        let payments =
            database(self.payments_database_url, self.payments_database_url_file, "--payments-database-url");
        let connections = self.database_connections.take("--database-connections", mistakes);
        mistakes.require(
            connections.is_none_or(|connections| connections >= Limits::FEWEST_CONNECTIONS),
            "--database-connections",
            format!("must be at least {}", Limits::FEWEST_CONNECTIONS),
        );
        let migration_wait = self.migration_wait.take("--migration-wait", mistakes)?;
        let statement_timeout = self.statement_timeout.take("--statement-timeout", mistakes);
        mistakes.require(
            statement_timeout.is_none_or(|timeout| *timeout >= SHORTEST_STATEMENT_TIMEOUT),
            "--statement-timeout",
            "must be at least 1s",
        );
        let limits = Limits {
            connections: connections?,
            migration_wait: migration_wait.into(),
            statement_timeout: statement_timeout?.into(),
            ..Limits::default()
        };
        let embedded = orders.is_none() || payments.is_none();
        mistakes.require(
            !embedded || !self.data_dir.as_os_str().is_empty(),
            "--data-dir",
            "must name a folder: a database is embedded",
        );
        let file = |name| DatabaseUrl::file(&self.data_dir.join(name));
        (mistakes.count() == before).then(|| Databases {
            orders: orders.unwrap_or_else(|| file("orders.db")),
            payments: payments.unwrap_or_else(|| file("payments.db")),
            data_dir: embedded.then(|| self.data_dir.clone()),
            limits,
        })
    }
}

/// Settings without mistakes.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The databases.
    pub(crate) databases: Databases,
    /// Where HTTP/JSON is served.
    pub(crate) http: SocketAddr,
    /// Where the orders service serves gRPC.
    pub(crate) orders_grpc: SocketAddr,
    /// Where the payments service serves gRPC.
    pub(crate) payments_grpc: SocketAddr,
    /// Where the operator asks.
    pub(crate) admin: SocketAddr,
    /// RabbitMQ; `None` for the in-process broker.
    pub(crate) amqp_url: Option<SecretUrl>,
    /// The authority behind its certificate, in PEM; `None` for the ones that everybody knows.
    pub(crate) amqp_ca: Option<String>,
    /// Queues per consumer, at least 1.
    pub(crate) partitions: u16,
    /// What an empty `currency_code` means.
    pub(crate) default_currency: String,
    /// The bearer token of the admin services; `None`: they are not served.
    pub(crate) admin_token: Option<SecretString>,
    /// When an undecided payment is given up, after the order was placed.
    pub(crate) order_ttl: Duration,
}

impl Settings {
    /// The settings, when nothing is wrong with them.
    ///
    /// # Errors
    /// Every mistake.
    pub(crate) fn check(self) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        let http = self.http.take("--http", &mut mistakes);
        let orders_grpc = self.orders_grpc.take("--orders-grpc", &mut mistakes);
        let payments_grpc = self.payments_grpc.take("--payments-grpc", &mut mistakes);
        let admin = self.admin.take("--admin", &mut mistakes);
        let databases = self.databases.check(&mut mistakes);
        let amqp_url = secret::take(self.amqp_url, self.amqp_url_file, "--amqp-url", &mut mistakes);
        let amqp_url = amqp_url.and_then(|url| {
            let parsed = SecretUrl::parse(url, &["amqp", "amqps"]);
            parsed.map_err(|error| mistakes.note("--amqp-url", error)).ok()
        });
        let admin_token = secret::admin_token(self.admin_token, self.admin_token_file, &mut mistakes);
        let amqp_ca = content(self.amqp_ca.as_deref(), "--amqp-ca", &mut mistakes);
        let partitions = self.partitions.take("--partitions", &mut mistakes);
        mistakes.require(partitions != Some(0), "--partitions", "must be at least 1");
        let order_ttl = self.order_ttl.take("--order-ttl", &mut mistakes);
        mistakes.require(
            order_ttl.is_none_or(|ttl| *ttl >= SHORTEST_TTL),
            "--order-ttl",
            "must be at least 1s",
        );
        if let Err(problem) = ordermesh::rules::currency_code(&self.default_currency) {
            mistakes.note("--default-currency", problem);
        }
        let all = (|| {
            Some(Config {
                databases: databases?,
                http: http?,
                orders_grpc: orders_grpc?,
                payments_grpc: payments_grpc?,
                admin: admin?,
                amqp_url,
                amqp_ca,
                partitions: partitions?,
                default_currency: self.default_currency,
                admin_token,
                order_ttl: order_ttl?.into(),
            })
        })();
        mistakes.or(all)
    }
}
