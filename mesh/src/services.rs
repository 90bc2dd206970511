//! The services of a mesh as an operator's command reaches them: where they are, by which token, over which TLS.

mod channel;
mod reached;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use chassis::{
    secret::{self, ExposeSecret as _, SecretString},
    settings::ConfigErrors,
    tls::{ClientTls, UpstreamTlsSettings},
};
use tonic::{
    Request, Status,
    metadata::AsciiMetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
};

use self::reached::Reached;
pub(crate) use self::reached::late;

/// Flags of every command that asks services.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("upstream_ca", |flag| flag.global(true)))]
#[command(mut_arg("upstream_cert", |flag| flag.global(true)))]
#[command(mut_arg("upstream_key", |flag| flag.global(true)))]
pub(crate) struct ServicesSettings {
    /// Where the orders service serves gRPC
    #[arg(long, env = "ORDERS_URL", default_value = "http://127.0.0.1:5001", global = true)]
    orders_url: String,
    /// Where the payments service serves gRPC
    #[arg(long, env = "PAYMENTS_URL", default_value = "http://127.0.0.1:5002", global = true)]
    payments_url: String,
    /// The bearer token of both services' admin services; where there is an issuer, a token for the scope admin:read, or admin:write
    #[arg(long, env = "ADMIN_TOKEN", value_name = "TOKEN", global = true)]
    admin_token: Option<SecretString>,
    /// A file with the bearer token of both services' admin services, instead of --admin-token
    #[arg(long, env = "ADMIN_TOKEN_FILE", value_name = "FILE", global = true)]
    admin_token_file: Option<PathBuf>,
    /// How long a service may take to answer a call, such as 30s; when absent 10s, and 40s for `check`. Each service has 3s for `status`
    #[arg(long, value_name = "TIME", global = true)]
    timeout: Option<humantime::Duration>,
    /// TLS towards the services
    #[command(flatten)]
    tls: UpstreamTlsSettings,
}

/// A service that is called with the token.
pub(crate) type Caller = InterceptedService<Reached, Bearer>;

/// Adds the token to each call.
#[derive(Debug, Clone)]
pub(crate) struct Bearer(AsciiMetadataValue);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// The services of a mesh. They are connected to when they are needed.
#[derive(Debug)]
pub(crate) struct Services {
    orders_url: String,
    payments_url: String,
    bearer: Bearer,
    tls: ClientTls,
    timeout: Duration,
}

impl ServicesSettings {
    /// The services, each of which has so long to answer a call unless --timeout says otherwise. Must be called inside of a tokio runtime.
    ///
    /// # Errors
    /// Every error in the flags.
    pub(crate) fn check(self, timeout: Duration) -> anyhow::Result<Services> {
        let mut errors = ConfigErrors::default();
        let token = secret::admin_token(self.admin_token, self.admin_token_file, &mut errors);
        errors.require(token.is_some() || errors.count() > 0, "--admin-token", "is missing");
        let tls = self.tls.check(&mut errors);
        let (token, tls) = errors.or(token.zip(tls))?;
        let bearer = format!("Bearer {}", token.expose_secret());
        let bearer = Bearer(bearer.parse().context("the token is not printable ASCII")?);
        let timeout = self.timeout.map_or(timeout, Into::into);
        Ok(Services { orders_url: self.orders_url, payments_url: self.payments_url, bearer, tls, timeout })
    }
}

impl Services {
    /// Orders.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(crate) async fn orders(&self) -> anyhow::Result<Caller> {
        self.open(&self.orders_url).await
    }

    /// Payments.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(crate) async fn payments(&self) -> anyhow::Result<Caller> {
        self.open(&self.payments_url).await
    }

    /// Where orders is.
    pub(crate) fn orders_url(&self) -> &str {
        &self.orders_url
    }

    /// Where payments is.
    pub(crate) fn payments_url(&self) -> &str {
        &self.payments_url
    }

    async fn open(&self, url: &str) -> anyhow::Result<Caller> {
        let channel = channel::open(url, &self.tls, self.timeout).await?;
        Ok(InterceptedService::new(Reached::new(channel, url, self.timeout), self.bearer.clone()))
    }
}
