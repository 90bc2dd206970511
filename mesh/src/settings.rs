//! The settings of `ordermesh up`: all of it in one process, on embedded defaults.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use chassis::{
    settings::{Checked, Mistakes, content},
    telemetry::LogSettings,
};
use orders::settings::SHORTEST_TTL;
use storage::DatabaseUrl;
use url::Url;

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
    /// Where the embedded databases live; made when it is missing
    #[arg(long, env = "DATA_DIR", default_value = "./data")]
    pub(crate) data_dir: PathBuf,
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
    /// The database of orders; absent: SQLite in the data directory
    #[arg(long, env = "ORDERS_DATABASE_URL", hide_env_values = true)]
    pub(crate) orders_database_url: Option<Checked<DatabaseUrl>>,
    /// The database of payments; absent: SQLite in the data directory
    #[arg(long, env = "PAYMENTS_DATABASE_URL", hide_env_values = true)]
    pub(crate) payments_database_url: Option<Checked<DatabaseUrl>>,
    /// RabbitMQ, `amqp://USER:PASSWORD@HOST:PORT/VHOST` or amqps; absent: the in-process broker
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    pub(crate) amqp_url: Option<Checked<Url>>,
    /// A file with the certificate of the authority behind an `amqps://` broker, in PEM, when it is a private one
    #[arg(long, env = "AMQP_CA", value_name = "FILE")]
    pub(crate) amqp_ca: Option<PathBuf>,
    /// Queues per consumer; the same in every process of the mesh
    #[arg(long, env = "PARTITIONS", default_value = "1")]
    pub(crate) partitions: Checked<u16>,
    /// ISO 4217: what an empty `currency_code` means
    #[arg(long, env = "DEFAULT_CURRENCY", default_value = "RUB")]
    pub(crate) default_currency: String,
    /// The bearer token of the admin services; absent: they are not served
    #[arg(long, env = "ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) admin_token: Option<String>,
    /// When an undecided payment is given up after the order was placed, such as `90s` or `10m`
    #[arg(long, env = "ORDER_TTL", default_value = "10m")]
    pub(crate) order_ttl: Checked<humantime::Duration>,
    /// Logging
    #[command(flatten)]
    pub(crate) logs: LogSettings,
}

/// Settings without mistakes.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where the embedded databases live.
    pub(crate) data_dir: PathBuf,
    /// Where HTTP/JSON is served.
    pub(crate) http: SocketAddr,
    /// Where the orders service serves gRPC.
    pub(crate) orders_grpc: SocketAddr,
    /// Where the payments service serves gRPC.
    pub(crate) payments_grpc: SocketAddr,
    /// Where the operator asks.
    pub(crate) admin: SocketAddr,
    /// The database of orders; `None` for the embedded one.
    pub(crate) orders_database: Option<DatabaseUrl>,
    /// The database of payments; `None` for the embedded one.
    pub(crate) payments_database: Option<DatabaseUrl>,
    /// RabbitMQ; `None` for the in-process broker.
    pub(crate) amqp_url: Option<Url>,
    /// The authority behind its certificate, in PEM; `None` for the ones that everybody knows.
    pub(crate) amqp_ca: Option<String>,
    /// Queues per consumer, at least 1.
    pub(crate) partitions: u16,
    /// What an empty `currency_code` means.
    pub(crate) default_currency: String,
    /// The bearer token of the admin services; `None`: they are not served.
    pub(crate) admin_token: Option<String>,
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
        let mut database =
            |flag, url: Option<Checked<DatabaseUrl>>| url.and_then(|url| url.take(flag, &mut mistakes));
        let orders_database = database("--orders-database-url", self.orders_database_url);
        let payments_database = database("--payments-database-url", self.payments_database_url);
        let amqp_url = self.amqp_url.and_then(|url| url.take("--amqp-url", &mut mistakes));
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
                data_dir: self.data_dir,
                http: http?,
                orders_grpc: orders_grpc?,
                payments_grpc: payments_grpc?,
                admin: admin?,
                orders_database,
                payments_database,
                amqp_url,
                amqp_ca,
                partitions: partitions?,
                default_currency: self.default_currency,
                admin_token: self.admin_token,
                order_ttl: order_ttl?.into(),
            })
        })();
        mistakes.or(all)
    }
}
