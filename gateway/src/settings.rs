//! The settings of an edge: flags with an environment variable each, and the checked values they become.

mod callers;
pub mod timeout;
mod values;

use std::{
    fs,
    net::SocketAddr,
    num::NonZeroU32,
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
pub use self::values::{Config, Upstreams};
use self::values::{ORDERS_URL, PAYMENTS_URL};
pub(crate) use self::{callers::HOPS, values::url_flag};

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
    /// Pass over unknown JSON fields and query parameters, and name them in the header `x-ordermesh-ignored`
    #[arg(long, env = "GATEWAY_LENIENT")]
    pub lenient: bool,
    /// The largest body that is read, in bytes
    #[arg(long, env = "GATEWAY_MAX_BODY_BYTES", default_value = "1048576")]
    pub max_body_bytes: Checked<usize>,
    /// How long a request may take when it does not say so itself: seconds, or such as `500ms`
    #[arg(long, env = "GATEWAY_REQUEST_TIMEOUT", default_value = "15s")]
    pub request_timeout: Checked<Timeout>,
    /// What the bodies of all requests may take together, in bytes, and as much again answers that their clients have not taken. A client's
    /// address may have a quarter of each; one more is refused (429)
    #[arg(long, env = "GATEWAY_MAX_BUFFERED_BYTES", default_value = "268435456")]
    pub max_buffered_bytes: Checked<usize>,
    /// A client that has not sent the head of a request by then is cut off: seconds, or such as `500ms`
    #[arg(long, env = "GATEWAY_HEADER_TIMEOUT", default_value = "10s")]
    pub header_timeout: Checked<Timeout>,
    /// A connection without a request for so long, or that takes nothing of its answers, is closed: seconds, or such as `500ms`. An answer
    /// may take so long, and a second for each 8 KiB of it
    #[arg(long, env = "GATEWAY_IDLE_TIMEOUT", default_value = "60s")]
    pub idle_timeout: Checked<Timeout>,
    /// How many connections are open at most, as far as the limit of open files allows; the next one waits
    #[arg(long, env = "GATEWAY_MAX_CONNECTIONS", default_value = "16384")]
    pub max_connections: Checked<usize>,
    /// How many requests are open at most, a stream only until it has begun; one more is refused (429)
    #[arg(long, env = "GATEWAY_MAX_REQUESTS", default_value = "4096")]
    pub max_requests: Checked<usize>,
    /// How many streams are open at most; one more is refused (429)
    #[arg(long, env = "GATEWAY_MAX_STREAMS", default_value = "16384")]
    pub max_streams: Checked<usize>,
    /// How many of them a caller may have: the subject of a token, or without one a client's address
    #[arg(long, env = "GATEWAY_MAX_STREAMS_PER_CLIENT", default_value = "4096")]
    pub max_streams_per_client: Checked<usize>,
    /// How many streams of a method a caller may have, beside --max-streams-per-client: `package.Service/Method=STREAMS`, with commas between
    #[arg(long, env = "GATEWAY_METHOD_STREAMS", value_name = "LIMITS", value_delimiter = ',')]
    pub method_streams: Vec<String>,
    /// How many requests a caller may make in a second, and at once: the subject of a token, or without one a client's address. One more is
    /// refused, with a time to come again (429). Without it there is no such bound
    #[arg(long, env = "GATEWAY_RATE_LIMIT", value_name = "REQUESTS")]
    pub rate_limit: Option<Checked<NonZeroU32>>,
    /// The same for single methods, however they are called: `package.Service/Method=REQUESTS`, with commas between
    #[arg(long, env = "GATEWAY_METHOD_LIMIT", value_name = "LIMITS", value_delimiter = ',')]
    pub method_limit: Vec<String>,
    /// The proxies that say in `Forwarded` or `X-Forwarded-For` whose requests they hand on: networks such as `10.0.0.0/8`, with commas
    /// between. From anybody else these headers count for nothing
    #[arg(long, env = "GATEWAY_TRUSTED_PROXIES", value_name = "NETWORKS", value_delimiter = ',')]
    pub trusted_proxies: Vec<String>,
    /// Compress answers of 256 bytes and more for clients that accept gzip, br or zstd. Streams are never compressed, and compressed
    /// requests are always read
    #[arg(long, env = "GATEWAY_COMPRESS")]
    pub compress: bool,
    /// Headers of requests that become metadata of the call under the same name, beside `authorization`, `traceparent`, `tracestate` and
    /// `x-request-id`: such as `x-tenant-id,accept-language,baggage`
    #[arg(long, env = "GATEWAY_FORWARD_HEADERS", value_name = "NAMES", value_delimiter = ',')]
    pub forward_headers: Vec<String>,
    /// Metadata of answers that become headers under the same name: such as `location,cache-control`
    #[arg(long, env = "GATEWAY_RETURN_METADATA", value_name = "NAMES", value_delimiter = ',')]
    pub return_metadata: Vec<String>,
    /// The origins whose pages may read answers, with commas between them, such as `https://shop.example`; `*` for all. Without it
    /// none may
    #[arg(long, env = "GATEWAY_CORS_ORIGIN", value_name = "ORIGINS", value_delimiter = ',')]
    pub cors_origin: Vec<String>,
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
        let mut config = Config {
            lenient: self.lenient,
            method_streams: callers::by_method("--method-streams", &self.method_streams, errors),
            method_limits: callers::by_method("--method-limit", &self.method_limit, errors),
            trusted_proxies: callers::networks("--trusted-proxies", &self.trusted_proxies, errors),
            rate_limit: self.rate_limit.and_then(|requests| requests.take("--rate-limit", errors)),
            compress: self.compress,
            forward_headers: callers::headers("--forward-headers", &self.forward_headers, errors),
            return_metadata: callers::headers("--return-metadata", &self.return_metadata, errors),
            cors_origins: self.cors_origin,
            ..Config::builtin(self.orders_url, self.payments_url)
        };
        if let Some(listen) = self.listen.take("--listen", errors) {
            config.listen = listen;
        }
        identify(&mut config, self.auth, errors);
        if let Some(bytes) = self.max_body_bytes.take("--max-body-bytes", errors) {
            config.max_body_bytes = bytes;
        }
        if let Some(timeout) = self.request_timeout.take("--request-timeout", errors) {
            config.request_timeout = timeout.into();
        }
        if let Some(bytes) = self.max_buffered_bytes.take("--max-buffered-bytes", errors) {
            errors.require(
                bytes >= config.max_body_bytes,
                "--max-buffered-bytes",
                "must be at least --max-body-bytes",
            );
            config.max_buffered_bytes = bytes;
        }
        if let Some(timeout) = self.header_timeout.take("--header-timeout", errors) {
            config.header_timeout = timeout.into();
        }
        if let Some(timeout) = self.idle_timeout.take("--idle-timeout", errors) {
            config.idle_timeout = timeout.into();
        }
        if let Some(connections) = self.max_connections.take("--max-connections", errors) {
            errors.require(connections > 0, "--max-connections", "must be at least 1");
            config.max_connections = connections;
        }
        if let Some(requests) = self.max_requests.take("--max-requests", errors) {
            errors.require(requests > 0, "--max-requests", "must be at least 1");
            config.max_requests = requests;
        }
        let streams = self.max_streams.take("--max-streams", errors);
        config.max_streams = streams.unwrap_or(config.max_streams);
        let streams = self.max_streams_per_client.take("--max-streams-per-client", errors);
        config.max_streams_per_client = streams.unwrap_or(config.max_streams_per_client);
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
