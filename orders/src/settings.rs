//! The settings of the separate process `orders`.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use chassis::{
    secret::{self, ExposeSecret as _, SecretString, SecretUrl},
    settings::{Checked, Mistakes, content},
    telemetry::LogSettings,
};
use storage::{DatabaseUrl, Limits, limits::SHORTEST_STATEMENT_TIMEOUT};

/// The broker of a machine on which RabbitMQ was installed and nothing changed.
const AMQP_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";

/// A shorter time would give up payments that are merely under way.
pub const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// Flags, with an environment variable each.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "orders", version, about = "The orders service: placing, reading and listing orders")]
pub struct Settings {
    /// What to do other than serving
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where gRPC is served; port 0 takes a free one
    #[arg(long, env = "ORDERS_LISTEN", default_value = "127.0.0.1:5001")]
    pub listen: Checked<SocketAddr>,
    /// Where /livez and /readyz are served
    #[arg(long, env = "ADMIN_LISTEN", default_value = "127.0.0.1:9091", global = true)]
    pub admin: Checked<SocketAddr>,
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE` or `sqlite:PATH` [default: sqlite:orders.db]
    #[arg(long, env = "DATABASE_URL", value_name = "URL", global = true)]
    pub database_url: Option<SecretString>,
    /// A file with the URL of the database, instead of --database-url
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE", global = true)]
    pub database_url_file: Option<PathBuf>,
    /// `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or amqps [default: guest on 127.0.0.1]
    #[arg(long, env = "AMQP_URL", value_name = "URL")]
    pub amqp_url: Option<SecretString>,
    /// A file with the URL of the broker, instead of --amqp-url
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE")]
    pub amqp_url_file: Option<PathBuf>,
    /// A file with the certificate of the authority behind an `amqps://` broker, in PEM, when it is a private one
    #[arg(long, env = "AMQP_CA", value_name = "FILE")]
    pub amqp_ca: Option<PathBuf>,
    /// Queues per consumer; the same in every process of the mesh. Fewer are refused while messages wait in the queues beyond
    #[arg(long, env = "PARTITIONS", default_value = "1")]
    pub partitions: Checked<u16>,
    /// Writes or messages taken together at most; 1 shows what batching is worth [default: as many as wait, within reason]
    #[arg(long, env = "MAX_BATCH")]
    pub max_batch: Option<Checked<NonZeroUsize>>,
    /// Connections that read, and as many for transactions; a PostgreSQL server sees up to twice this number and 18
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value = "8", global = true)]
    pub database_connections: Checked<u32>,
    /// How long migrations wait for locks that others hold, such as `90s`, before the start is given up
    #[arg(long, env = "MIGRATION_WAIT", default_value = "60s", global = true)]
    pub migration_wait: Checked<humantime::Duration>,
    /// How long an attempt at a statement or a transaction may take before its connection is closed, such as `10s`
    #[arg(long, env = "STATEMENT_TIMEOUT", default_value = "10s")]
    pub statement_timeout: Checked<humantime::Duration>,
    /// ISO 4217: what an empty `currency_code` means
    #[arg(long, env = "DEFAULT_CURRENCY", default_value = "RUB")]
    pub default_currency: String,
    /// The bearer token of the admin services; absent: they are not served
    #[arg(long, env = "ADMIN_TOKEN", value_name = "TOKEN")]
    pub admin_token: Option<SecretString>,
    /// A file with the bearer token of the admin services, instead of --admin-token
    #[arg(long, env = "ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
    /// When an undecided payment is given up after the order was placed, such as `90s` or `10m`
    #[arg(long, env = "ORDER_TTL", default_value = "10m")]
    pub order_ttl: Checked<humantime::Duration>,
    /// Logging
    #[command(flatten)]
    pub logs: LogSettings,
}

/// What the binary does other than serving.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub enum Command {
    /// Brings the schema of the database up to date and ends: exit status 0 when it is. For a role that may create tables, when the
    /// service's own may not. Harmless when nothing is to be done, and beside others that do the same
    Migrate,
    /// Asks the running process whether it is ready: exit status 0 or 1
    Healthcheck,
}

/// Settings without mistakes.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Where the operator asks.
    pub admin: SocketAddr,
    /// The database.
    pub database_url: DatabaseUrl,
    /// The broker.
    pub amqp_url: SecretUrl,
    /// The authority behind its certificate, in PEM; `None` for the ones that everybody knows.
    pub amqp_ca: Option<String>,
    /// Queues per consumer, at least 1.
    pub partitions: u16,
    /// How much of the database the process may use.
    pub limits: Limits,
    /// What an empty `currency_code` means.
    pub default_currency: String,
    /// The bearer token of the admin services; `None`: they are not served.
    pub admin_token: Option<SecretString>,
    /// When an undecided payment is given up, after the order was placed.
    pub order_ttl: Duration,
}

impl Settings {
    /// The settings, when nothing is wrong with them.
    ///
    /// # Errors
    /// Every mistake.
    pub fn check(self) -> Result<Config, Mistakes> {
        let mut mistakes = Mistakes::default();
        let limits = self.limits(&mut mistakes);
        let listen = self.listen.take("--listen", &mut mistakes);
        let admin = self.admin.take("--admin", &mut mistakes);
        let database_url =
            secret::take(self.database_url, self.database_url_file, "--database-url", &mut mistakes);
        let database_url = database_url.as_ref().map_or("sqlite:orders.db", |url| url.expose_secret());
        let database_url = database_url.parse().map_err(|error| mistakes.note("--database-url", error)).ok();
        let amqp_url = secret::take(self.amqp_url, self.amqp_url_file, "--amqp-url", &mut mistakes);
        let amqp_url = SecretUrl::parse(amqp_url.unwrap_or_else(|| AMQP_URL.into()), &["amqp", "amqps"]);
        let amqp_url = amqp_url.map_err(|error| mistakes.note("--amqp-url", error)).ok();
        let admin_token = secret::admin_token(self.admin_token, self.admin_token_file, &mut mistakes);
        let amqp_ca = content(self.amqp_ca.as_deref(), "--amqp-ca", &mut mistakes);
        let partitions = self.partitions.take("--partitions", &mut mistakes);
        let order_ttl = self.order_ttl.take("--order-ttl", &mut mistakes);
        mistakes.require(
            order_ttl.is_none_or(|ttl| *ttl >= SHORTEST_TTL),
            "--order-ttl",
            "must be at least 1s",
        );
        mistakes.require(partitions != Some(0), "--partitions", "must be at least 1");
        if let Err(problem) = ordermesh::rules::currency_code(&self.default_currency) {
            mistakes.note("--default-currency", problem);
        }
        let all = (|| {
            Some(Config {
                listen: listen?,
                admin: admin?,
                database_url: database_url?,
                amqp_url: amqp_url?,
                amqp_ca,
                partitions: partitions?,
                limits: limits?,
                default_currency: self.default_currency,
                admin_token,
                order_ttl: order_ttl?.into(),
            })
        })();
        mistakes.or(all)
    }

    /// How much of the database the process may use.
    fn limits(&self, mistakes: &mut Mistakes) -> Option<Limits> {
        let max_batch = self.max_batch.clone().map(|most| most.take("--max-batch", mistakes));
        let connections = self.database_connections.clone().take("--database-connections", mistakes);
        let migration_wait = self.migration_wait.clone().take("--migration-wait", mistakes);
        let statement_timeout = self.statement_timeout.clone().take("--statement-timeout", mistakes);
        mistakes.require(
            connections.is_none_or(|connections| connections >= Limits::FEWEST_CONNECTIONS),
            "--database-connections",
            format!("must be at least {}", Limits::FEWEST_CONNECTIONS),
        );
        mistakes.require(
            statement_timeout.is_none_or(|timeout| *timeout >= SHORTEST_STATEMENT_TIMEOUT),
            "--statement-timeout",
            "must be at least 1s",
        );
        Some(Limits {
            connections: connections?,
            max_batch: max_batch.map_or(Some(usize::MAX), |most| most.map(NonZeroUsize::get))?,
            migration_wait: migration_wait?.into(),
            statement_timeout: statement_timeout?.into(),
        })
    }
}
