//! The settings of a service: the same flags for every service, each with an environment variable, and those of its own.
//!
//! The groups of flags stand alone, for a process that runs several services.

mod broker;

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use auth::{AuthConfig, AuthSettings};
use chassis::{
    admin::{HostSettings, Hosts},
    secret::{self, ExposeSecret as _, SecretString},
    settings::{Checked, ConfigErrors},
    telemetry::LogSettings,
    tls::{TlsConfig, TlsSettings, check_authorities},
};
use storage::{
    DatabaseUrl, Limits,
    limits::{PreparedStatements, SHORTEST_STATEMENT_TIMEOUT},
};

pub use self::broker::{BrokerConfig, BrokerSettings};
use crate::Service;

/// The broker of a machine on which RabbitMQ was installed and nothing changed.
const AMQP_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";

/// The flags of the process of a service. Those of the database are there for `migrate`, too.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = S::NAME, version, about = S::ABOUT)]
#[command(mut_arg("database_connections", |flag| flag.global(true)))]
#[command(mut_arg("migration_wait", |flag| flag.global(true)))]
#[command(mut_arg("prepared_statements", |flag| flag.global(true)))]
pub struct ServiceSettings<S: Service> {
    /// What to do other than serving
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where gRPC is served; port 0 takes a free one
    #[arg(long, env = format!("{}_LISTEN", S::NAME.to_uppercase()), default_value = S::LISTEN)]
    pub listen: Checked<SocketAddr>,
    /// Where /livez and /readyz are served
    #[arg(long, env = "ADMIN_LISTEN", default_value = S::ADMIN, global = true)]
    pub admin: Checked<SocketAddr>,
    /// By which names the admin listener is called
    #[command(flatten)]
    pub hosts: HostSettings,
    /// The database; absent: SQLite in the working directory
    #[arg(
        long,
        env = "DATABASE_URL",
        value_name = "URL",
        global = true,
        help = format!(
            "`postgres://USER:PASSWORD@HOST:PORT/DATABASE` or `sqlite:PATH` [default: sqlite:{}.db]", S::NAME
        )
    )]
    pub database_url: Option<SecretString>,
    /// A file with the URL of the database, instead of --database-url
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE", global = true)]
    pub database_url_file: Option<PathBuf>,
    /// The broker
    #[command(flatten)]
    pub broker: BrokerSettings,
    /// Writes or messages taken together at most; 1 shows what batching is worth [default: as many as wait, within reason]
    #[arg(long, env = "MAX_BATCH")]
    pub max_batch: Option<Checked<NonZeroUsize>>,
    /// How much of the database the process may use
    #[command(flatten)]
    pub limits: LimitSettings,
    /// What calls may leave out, and the admin services
    #[command(flatten)]
    pub calls: CallSettings,
    /// Who may call
    #[command(flatten)]
    pub auth: AuthSettings,
    /// TLS of listeners
    #[command(flatten)]
    pub tls: TlsSettings,
    /// The service's own
    #[command(flatten)]
    pub own: S::Settings,
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

/// How much of a database the process may use.
#[derive(Debug, Clone, clap::Args)]
pub struct LimitSettings {
    /// Connections that read, and as many for transactions; a PostgreSQL server sees up to twice this number and 18
    #[arg(long, env = "DATABASE_CONNECTIONS", default_value = "8")]
    pub database_connections: Checked<u32>,
    /// How long migrations wait for locks that others hold, such as `90s`, before the start is given up
    #[arg(long, env = "MIGRATION_WAIT", default_value = "60s")]
    pub migration_wait: Checked<humantime::Duration>,
    /// How long an attempt at a statement or a transaction may take before its connection is closed, such as `10s`
    #[arg(long, env = "STATEMENT_TIMEOUT", default_value = "10s")]
    pub statement_timeout: Checked<humantime::Duration>,
    /// `off`: nothing rests on a session of PostgreSQL, as behind a pooler of transactions; each single statement takes three round trips
    /// more
    #[arg(long, env = "PREPARED_STATEMENTS", value_name = "on|off", default_value = "on")]
    pub prepared_statements: Checked<PreparedStatements>,
}

/// What calls may leave out, and the admin services.
#[derive(Debug, Clone, clap::Args)]
pub struct CallSettings {
    /// ISO 4217: what an empty `currency_code` means
    #[arg(long, env = "DEFAULT_CURRENCY", default_value = "RUB")]
    pub default_currency: String,
    /// The bearer token of the admin services, where there is no issuer; absent: they are not served then
    #[arg(long, env = "ADMIN_TOKEN", value_name = "TOKEN")]
    pub admin_token: Option<SecretString>,
    /// A file with the bearer token of the admin services, instead of --admin-token
    #[arg(long, env = "ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

/// The settings of a service's process without errors.
#[derive(Debug, Clone)]
pub struct ServiceConfig<S> {
    /// Where gRPC is served.
    pub listen: SocketAddr,
    /// Where the operator asks.
    pub admin: SocketAddr,
    /// By which names.
    pub hosts: Hosts,
    /// The database.
    pub database_url: DatabaseUrl,
    /// How much of it the process may use.
    pub limits: Limits,
    /// What all services of a mesh have alike.
    pub mesh: MeshConfig,
    /// The service.
    pub service: S,
}

/// What all services of a mesh have alike.
#[derive(Debug, Clone)]
pub struct MeshConfig {
    /// The broker between the services.
    pub broker: BrokerConfig,
    /// ISO 4217: what an empty `currency_code` means.
    pub default_currency: String,
    /// Where there is no issuer: who has it may call the admin services; they are not served when there is none.
    pub admin_token: Option<SecretString>,
    /// Who may call.
    pub auth: AuthConfig,
    /// TLS of listeners.
    pub tls: TlsConfig,
}

impl<S: Service> ServiceSettings<S> {
    /// The settings, when nothing is wrong with them. Must be called inside of a tokio runtime.
    ///
    /// # Errors
    /// Every error.
    pub fn check(mut self) -> Result<ServiceConfig<S>, ConfigErrors> {
        let mut errors = ConfigErrors::default();
        let max_batch = self.max_batch.map(|most| most.take("--max-batch", &mut errors));
        let limits = self.limits.check(&mut errors);
        let listen = self.listen.take("--listen", &mut errors);
        let admin = self.admin.take("--admin", &mut errors);
        let hosts = self.hosts.check(&mut errors);
        let flag = "--database-url";
        let database_url = database_url(self.database_url, self.database_url_file, flag, &mut errors);
        let file = || DatabaseUrl::file(format!("{}.db", S::NAME).as_ref());
        if self.broker.amqp_url_file.is_none() {
            self.broker.amqp_url.get_or_insert_with(|| AMQP_URL.into());
        }
        let auth = self.auth.check(&mut errors);
        if let Some(auth) = &auth {
            auth.check_address("--listen", listen, &mut errors);
            auth.check_address("--admin", admin, &mut errors);
        }
        let tls = self.tls.check(&mut errors);
        let mesh = MeshConfig::check(self.broker, self.calls, auth, tls, &mut errors);
        let service = S::check(self.own, &mut errors);
        let all = (|| {
            let max_batch = max_batch.map_or(Some(usize::MAX), |most| most.map(NonZeroUsize::get))?;
            Some(ServiceConfig {
                listen: listen?,
                admin: admin?,
                hosts,
                database_url: database_url.unwrap_or_else(file),
                limits: Limits { max_batch, ..limits? },
                mesh: mesh?,
                service: service?,
            })
        })();
        errors.or(all)
    }
}

impl LimitSettings {
    /// The limits, with the default of `max_batch`, or `None` after errors were noted.
    pub fn check(self, errors: &mut ConfigErrors) -> Option<Limits> {
        let connections = self.database_connections.take("--database-connections", errors);
        let migration_wait = self.migration_wait.take("--migration-wait", errors);
        let statement_timeout = self.statement_timeout.take("--statement-timeout", errors);
        let prepared_statements = self.prepared_statements.take("--prepared-statements", errors);
        errors.require(
            connections.is_none_or(|connections| connections >= Limits::FEWEST_CONNECTIONS),
            "--database-connections",
            format!("must be at least {}", Limits::FEWEST_CONNECTIONS),
        );
        errors.require(
            statement_timeout.is_none_or(|timeout| *timeout >= SHORTEST_STATEMENT_TIMEOUT),
            "--statement-timeout",
            "must be at least 1s",
        );
        Some(Limits {
            connections: connections?,
            migration_wait: migration_wait?.into(),
            statement_timeout: statement_timeout?.into(),
            prepared_statements: prepared_statements?,
            ..Limits::default()
        })
    }
}

impl MeshConfig {
    /// The settings of all groups, or `None` after errors were noted.
    pub fn check(
        broker: BrokerSettings,
        calls: CallSettings,
        auth: Option<AuthConfig>,
        tls: Option<TlsConfig>,
        errors: &mut ConfigErrors,
    ) -> Option<Self> {
        let broker = broker.check(errors);
        let admin_token = secret::admin_token(calls.admin_token, calls.admin_token_file, errors);
        let has_issuer = auth.as_ref().is_some_and(|auth| auth.issuer.is_some());
        errors.require(
            admin_token.is_none() || !has_issuer,
            "--admin-token",
            "is for a process without an issuer: here operators have tokens of the issuer, for the scope admin:write",
        );
        let default_currency = calls.default_currency;
        if let Err(problem) = ordermesh::rules::currency_code(&default_currency) {
            errors.note("--default-currency", problem);
        }
        Some(Self { broker: broker?, default_currency, admin_token, auth: auth?, tls: tls? })
    }
}

/// The database of a flag; `None` when none is given, and after an error was noted.
pub fn database_url(
    value: Option<SecretString>,
    file: Option<PathBuf>,
    flag: &str,
    errors: &mut ConfigErrors,
) -> Option<DatabaseUrl> {
    let url = secret::take(value, file, flag, errors)?;
    let url = url.expose_secret().parse::<DatabaseUrl>().map_err(|error| errors.note(flag, error)).ok()?;
    if let DatabaseUrl::Postgres(server) = &url
        && let Some(file) = server.authorities()
    {
        // Its driver would take any certificate for an authority's.
        check_authorities(flag, &file, errors);
    }
    Some(url)
}
