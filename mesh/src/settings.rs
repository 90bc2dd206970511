//! The settings of `ordermesh up`: all of it in one process, on embedded defaults.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use auth::{AuthConfig, AuthSettings, DevelopmentKey};
use chassis::{
    admin::{HostSettings, Hosts},
    secret::SecretString,
    settings::{Checked, ConfigErrors},
    status::Chain,
    telemetry::LogSettings,
    tls::TlsSettings,
};
use gateway::ServingSettings;
use orders::{Orders, settings::OrderSettings};
use service::settings::{BrokerSettings, CallSettings, LimitSettings, MeshConfig, database_url};
use storage::{DatabaseUrl, Limits};

/// In the help of this binary, what a broker and connections are is said otherwise than in that of a single service.
const AMQP_URL: &str = "RabbitMQ, `amqp://USER:PASSWORD@HOST:PORT/VHOST` or amqps; one for each node of a cluster, \
                        with commas between; absent: the in-process broker";
const CONNECTIONS: &str = "Connections to each database that read, and as many for transactions; a PostgreSQL server \
                           sees up to twice this number and 18 of each service";

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
    /// Copies both databases of the embedded mesh as they are at one instant, while it runs, and verifies the copies
    Backup(crate::backup::Arguments),
    /// Shows what waits at each service and what is paused; on a terminal anew every second, until Ctrl-C. Exit status 3 when somebody has to look
    Status(Box<crate::admin::StatusArguments>),
    /// Asks and acts as an operator: the way of an order, parked messages, who did what, sums
    Admin(Box<crate::admin::Arguments>),
    /// Prints a script by which a shell completes commands, such as `ordermesh completions bash > /etc/bash_completion.d/ordermesh`
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Prints a token for development: `up --auth dev` lets its user in
    Token(crate::token::Arguments),
    /// Makes certificates for development: an authority, and one for each process of the mesh, for what it rests on, and for a client
    Certs(crate::certs::Arguments),
    /// Asks the running process whether it is ready: exit status 0 or 1
    Healthcheck {
        /// Where the process serves /readyz
        #[arg(long, env = "ADMIN_LISTEN", default_value = "127.0.0.1:9090")]
        admin: SocketAddr,
        #[command(flatten)]
        tls: Box<TlsSettings>,
    },
}

/// Flags of `up`, with an environment variable each.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("amqp_url", |flag| flag.help(AMQP_URL)))]
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
    /// By which names the admin listener is called
    #[command(flatten)]
    pub(crate) hosts: HostSettings,
    /// The broker
    #[command(flatten)]
    pub(crate) broker: BrokerSettings,
    /// What calls may leave out, and the admin services
    #[command(flatten)]
    pub(crate) calls: CallSettings,
    /// Who may call
    #[command(flatten)]
    pub(crate) auth: AuthSettings,
    /// `dev`: callers need tokens of `ordermesh token`, whose key is made in the data directory and published at /.well-known/jwks.json
    #[arg(long = "auth", env = "AUTH", value_name = "MODE")]
    pub(crate) auth_mode: Option<AuthMode>,
    /// How the edge serves its clients
    #[command(flatten)]
    pub(crate) serving: ServingSettings,
    /// TLS of listeners
    #[command(flatten)]
    pub(crate) tls: TlsSettings,
    /// Those of orders
    #[command(flatten)]
    pub(crate) orders: OrderSettings,
    /// Logging
    #[command(flatten)]
    pub(crate) logs: LogSettings,
}

/// An issuer that needs no settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AuthMode {
    /// A key of one's own.
    Dev,
}

/// Where the databases are.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("database_connections", |flag| flag.help(CONNECTIONS)))]
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
    /// How much of each the process may use
    #[command(flatten)]
    pub(crate) limits: LimitSettings,
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
    pub(crate) fn check(self, errors: &mut ConfigErrors) -> Option<Databases> {
        let before = errors.count();
        let (value, file) = (self.orders_database_url, self.orders_database_url_file);
        let orders = database_url(value, file, "--orders-database-url", errors);
        let (value, file) = (self.payments_database_url, self.payments_database_url_file);
        let payments = database_url(value, file, "--payments-database-url", errors);
        let limits = self.limits.check(errors)?;
        let embedded = orders.is_none() || payments.is_none();
        errors.require(
            !embedded || !self.data_dir.as_os_str().is_empty(),
            "--data-dir",
            "must name a folder: a database is embedded",
        );
        let file = |name| DatabaseUrl::file(&self.data_dir.join(name));
        (errors.count() == before).then(|| Databases {
            orders: orders.unwrap_or_else(|| file("orders.db")),
            payments: payments.unwrap_or_else(|| file("payments.db")),
            data_dir: embedded.then(|| self.data_dir.clone()),
            limits,
        })
    }
}

/// Settings without errors.
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
    /// By which names.
    pub(crate) hosts: Hosts,
    /// What both services have alike.
    pub(crate) mesh: MeshConfig,
    /// The edge, but for where its services are.
    pub(crate) edge: gateway::Config,
    /// The orders service.
    pub(crate) orders: Orders,
    /// The keys of the issuer for development, which the edge publishes.
    pub(crate) jwks: Option<String>,
}

impl Settings {
    /// The settings, when nothing is wrong with them.
    ///
    /// # Errors
    /// Every error.
    pub(crate) fn check(self) -> Result<Config, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let http = self.http.take("--http", &mut errors);
        let orders_grpc = self.orders_grpc.take("--orders-grpc", &mut errors);
        let payments_grpc = self.payments_grpc.take("--payments-grpc", &mut errors);
        let admin = self.admin.take("--admin", &mut errors);
        let hosts = self.hosts.check(&mut errors);
        let data_dir = self.databases.data_dir.clone();
        let databases = self.databases.check(&mut errors);
        let (auth, jwks) = match self.auth_mode {
            None => (self.auth.check(&mut errors), None),
            Some(AuthMode::Dev) => development(self.auth, &data_dir, &mut errors),
        };
        if let Some(auth) = &auth {
            for (flag, address) in [
                ("--http", http),
                ("--orders-grpc", orders_grpc),
                ("--payments-grpc", payments_grpc),
                ("--admin", admin),
            ] {
                auth.check_address(flag, address, &mut errors);
            }
        }
        let edge = self.serving.onto(gateway::Config::default(), &mut errors);
        let tls = self.tls.check(&mut errors);
        let mesh = MeshConfig::check(self.broker, self.calls, auth, tls, &mut errors);
        let orders = Orders::of(self.orders, &mut errors);
        let all = (|| {
            Some(Config {
                databases: databases?,
                http: http?,
                orders_grpc: orders_grpc?,
                payments_grpc: payments_grpc?,
                admin: admin?,
                hosts,
                mesh: mesh?,
                edge,
                orders: orders?,
                jwks,
            })
        })();
        errors.or(all)
    }
}

/// The issuer for development, and its keys. The key is made when there is none.
fn development(
    auth: AuthSettings,
    data_dir: &Path,
    errors: &mut ConfigErrors,
) -> (Option<AuthConfig>, Option<String>) {
    let is_alone = auth.auth_issuer.is_none() && auth.auth_jwks.is_none() && !auth.insecure;
    errors.require(
        is_alone,
        "--auth",
        "dev is an issuer by itself, without --auth-issuer, --auth-jwks and --insecure",
    );
    let key = DevelopmentKey::in_folder(data_dir).map_err(|error| errors.note("--auth", Chain(&error)));
    let key = key.ok().filter(|_| is_alone);
    let config = |key: &DevelopmentKey| AuthConfig { issuer: Some(key.issuer()), insecure: false };
    (key.as_ref().map(config), key.as_ref().map(DevelopmentKey::jwks))
}
