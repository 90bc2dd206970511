//! The settings of an edge: flags with an environment variable each, and the checked values they become.

mod callers;
mod serving;
pub mod timeout;
mod values;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use auth::{AuthSettings, Verifier};
use bytes::Bytes;
use chassis::{
    settings::{Checked, ConfigErrors},
    tls::{TlsSettings, UpstreamTlsSettings},
};

use self::timeout::Timeout;
use self::values::{ORDERS_URL, PAYMENTS_URL};
pub(crate) use self::{
    callers::{HOPS, travels},
    values::url_flag,
};
pub use self::{
    serving::ServingSettings,
    values::{Config, ORDERS, PAYMENTS, Upstreams},
};

/// The flags of an edge.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Where HTTP is served
    #[arg(long, env = "GATEWAY_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: Checked<SocketAddr>,
    /// The orders service: a URL, or several with commas between them; names are looked up again while the edge runs
    #[arg(long, env = "ORDERS_URL", default_value = ORDERS_URL)]
    pub orders_url: String,
    /// The payments service, as --orders-url
    #[arg(long, env = "PAYMENTS_URL", default_value = PAYMENTS_URL)]
    pub payments_url: String,
    /// Serve the services of this file, an encoded `google.protobuf.FileDescriptorSet`, instead of the built-in ones
    #[arg(long, env = "DESCRIPTOR_SET", value_name = "FILE", requires = "upstream")]
    pub descriptor_set: Option<PathBuf>,
    /// Where the services of --descriptor-set are, as --orders-url; without a set, the service is asked for it by server reflection
    #[arg(long, env = "UPSTREAM", value_name = "URL")]
    pub upstream: Option<String>,
    /// How often each endpoint of a service that is asked for its descriptors is asked whether they have changed: seconds, or such as
    /// `500ms`. Those of a file are never asked for
    #[arg(long, env = "REFLECT_EVERY", default_value = "60s")]
    pub reflect_every: Checked<Timeout>,
    /// TLS of listeners
    #[command(flatten)]
    pub tls: TlsSettings,
    /// TLS towards services
    #[command(flatten)]
    pub upstream_tls: UpstreamTlsSettings,
    /// How clients are served
    #[command(flatten)]
    pub serving: ServingSettings,
    /// Who may call
    #[command(flatten)]
    pub auth: AuthSettings,
}

impl Settings {
    /// The service that must be asked for its descriptors before there is an edge.
    #[must_use]
    pub fn discovers(&self) -> Option<&str> {
        self.upstream.as_deref().filter(|_| self.descriptor_set.is_none())
    }

    /// The values of the flags. A mistaken one is noted and its default taken, so that the others are looked at too. Must be called inside
    /// of a tokio runtime, which then reads the keys of the issuer, if there is one.
    #[must_use]
    pub fn config(self, errors: &mut ConfigErrors) -> Config {
        let mut config = self.serving.onto(Config::builtin(self.orders_url, self.payments_url), errors);
        if let Some(listen) = self.listen.take("--listen", errors) {
            config.listen = listen;
        }
        identify(&mut config, self.auth, errors);
        if let Some(pause) = self.reflect_every.take("--reflect-every", errors) {
            config.reflect_every = pause.into();
        }
        secure(&mut config, self.tls, self.upstream_tls, errors);
        if let Some(upstream) = self.upstream {
            config.upstreams = Upstreams::One(upstream.into());
            config.foreign = Some(Vec::new());
        }
        if let Some(file) = self.descriptor_set {
            config.descriptor_set = read("--descriptor-set", &file, errors).unwrap_or(config.descriptor_set);
        }
        config
    }
}

/// Who may call.
fn identify(config: &mut Config, settings: AuthSettings, errors: &mut ConfigErrors) {
    let Some(auth) = settings.check(errors) else { return };
    auth.check_address("--listen", Some(config.listen), errors);
    let verifier = |issuer| Verifier::new(issuer, Arc::clone(&config.clock));
    let issuer = auth.issuer.clone().map(verifier).transpose();
    config.issuer = issuer.map_err(|error| errors.note("--auth-jwks", error)).unwrap_or_default();
    config.own_machine = auth.serves_own_machine();
    config.auth = auth;
}

/// TLS of listeners and towards services.
fn secure(
    config: &mut Config,
    listeners: TlsSettings,
    services: UpstreamTlsSettings,
    errors: &mut ConfigErrors,
) {
    if let Some(tls) = listeners.check(errors) {
        (config.tls, config.admin_tls) = (tls.public, tls.admin);
    }
    if let Some(tls) = services.check(errors) {
        config.upstream_tls = tls;
    }
}

fn read(flag: &str, file: &Path, errors: &mut ConfigErrors) -> Option<Bytes> {
    let bytes =
        fs::read(file).map_err(|error| errors.note(flag, format!("cannot read {}: {error}", file.display())));
    bytes.ok().map(Bytes::from)
}
