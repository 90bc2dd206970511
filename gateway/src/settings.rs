//! The settings of an edge: flags with an environment variable each, and the checked values they become.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use chassis::{
    clock::{Clock, SystemClock},
    settings::{Checked, ConfigErrors},
};

use upstream::{Location, Resolver, SystemResolver, Trust};

use crate::timeout::Timeout;

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
    /// The certificates (PEM) of the authorities that `https` URLs of services trust, instead of those that browsers trust
    #[arg(long, env = "UPSTREAM_CA", value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,
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
    /// How many of them a client's address may have. A proxy in front of the edge is one client
    #[arg(long, env = "GATEWAY_MAX_STREAMS_PER_CLIENT", default_value = "4096")]
    pub max_streams_per_client: Checked<usize>,
    /// How many requests a client's address may make in a second, and at once; one more is refused, with a time to come again (429). Without
    /// it there is no such bound. A proxy in front of the edge is one client
    #[arg(long, env = "GATEWAY_RATE_LIMIT", value_name = "REQUESTS")]
    pub rate_limit: Option<Checked<NonZeroU32>>,
    /// Compress answers of 256 bytes and more for clients that accept gzip, br or zstd. Streams are never compressed, and compressed
    /// requests are always read
    #[arg(long, env = "GATEWAY_COMPRESS")]
    pub compress: bool,
    /// The origins whose pages may read answers, with commas between them, such as `https://shop.example`; `*` for all. Without it
    /// none may
    #[arg(long, env = "GATEWAY_CORS_ORIGIN", value_name = "ORIGINS", value_delimiter = ',')]
    pub cors_origin: Vec<String>,
}

/// An edge's settings, as values.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// The encoded `google.protobuf.FileDescriptorSet` of what is served, with its options.
    pub descriptor_set: Bytes,
    /// Whether somebody else wrote these descriptors, and what could not be had of them. Then a part that cannot be served is left out and
    /// named in a warning, with those; otherwise it is an error.
    pub foreign: Option<Vec<String>>,
    /// Where the services are.
    pub upstreams: Upstreams,
    /// The certificates (PEM) of the authorities that `https` URLs trust; `None` for those that browsers trust.
    pub upstream_ca: Option<Bytes>,
    /// Whether unknown names are passed over.
    pub lenient: bool,
    /// The largest body that is read, in bytes.
    pub max_body_bytes: usize,
    /// How long a request may take when it does not say so itself.
    pub request_timeout: Duration,
    /// What the bodies of all requests may take together, in bytes, and as much again answers that are not taken; those of one
    /// client a quarter.
    pub max_buffered_bytes: usize,
    /// A client that has not sent the head of a request by then is cut off, on a new connection as on one that is kept.
    pub header_timeout: Duration,
    /// A connection without a request for so long, or that takes nothing of its answers, is closed.
    pub idle_timeout: Duration,
    /// How many connections are open at most, as far as the limit of open files allows.
    pub max_connections: usize,
    /// How many requests are open at most. Streams count until they begin.
    pub max_requests: usize,
    /// How many streams are open at most.
    pub max_streams: usize,
    /// How many of them a client's address may have.
    pub max_streams_per_client: usize,
    /// How many requests a client's address may make in a second, and at once. Whoever mounts the router instead of serving it
    /// does without: only [`crate::serve`] knows where a request comes from.
    pub rate_limit: Option<NonZeroU32>,
    /// Whether answers are compressed for clients that accept it.
    pub compress: bool,
    /// The origins whose pages may read answers; `*` alone for all.
    pub cors_origins: Vec<String>,
    /// Who knows the addresses of the names in URLs.
    pub resolver: Arc<dyn Resolver>,
    /// Where request ids come from.
    pub clock: Arc<dyn Clock>,
}

/// Where services are.
#[derive(Debug, Clone)]
pub enum Upstreams {
    /// Every service in the same place.
    One(Location),
    /// Each service, by its full name, in its own.
    Each(BTreeMap<String, Location>),
}

impl Upstreams {
    /// The host and the port of a service; empty where nobody knows.
    pub(crate) fn authority(&self, service: &str) -> &str {
        match self {
            Self::One(location) => location.authority(),
            Self::Each(locations) => locations.get(service).map_or("", Location::authority),
        }
    }
}

const ORDERS_URL: &str = "http://127.0.0.1:5001";
const PAYMENTS_URL: &str = "http://127.0.0.1:5002";
const ORDERS: &str = "ordermesh.orders.v1.OrdersService";
const PAYMENTS: &str = "ordermesh.payments.v1.PaymentsService";

/// The flag that says where a service is.
pub(crate) fn url_flag(service: &str) -> &'static str {
    match service {
        ORDERS => "--orders-url",
        PAYMENTS => "--payments-url",
        _ => "--upstream",
    }
}

impl Default for Config {
    /// The built-in services where they are unless somebody says otherwise.
    fn default() -> Self {
        Self::builtin(ORDERS_URL, PAYMENTS_URL)
    }
}

impl Config {
    /// Whom connections to services trust.
    pub(crate) fn trust(&self) -> Trust<'_> {
        Trust { authorities: self.upstream_ca.as_deref(), resolver: &self.resolver }
    }

    /// The built-in services, and defaults for everything else.
    #[must_use]
    pub fn builtin(orders: impl Into<Location>, payments: impl Into<Location>) -> Self {
        let services = [(ORDERS, orders.into()), (PAYMENTS, payments.into())];
        let services = services.map(|(service, location)| (service.to_owned(), location));
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            descriptor_set: Bytes::from_static(ordermesh::DESCRIPTOR_SET),
            foreign: None,
            upstreams: Upstreams::Each(services.into()),
            upstream_ca: None,
            lenient: false,
            max_body_bytes: 1 << 20,
            request_timeout: Duration::from_secs(15),
            max_buffered_bytes: 256 << 20,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_connections: 16_384,
            max_requests: 4_096,
            max_streams: 16_384,
            max_streams_per_client: 4_096,
            rate_limit: None,
            compress: false,
            cors_origins: Vec::new(),
            resolver: Arc::new(SystemResolver),
            clock: SystemClock::shared(),
        }
    }
}

impl Settings {
    /// The service that must be asked for its descriptors before there is an edge.
    #[must_use]
    pub fn discovers(&self) -> Option<&str> {
        self.upstream.as_deref().filter(|_| self.descriptor_set.is_none())
    }

    /// The values of the flags. A mistaken one is noted and its default taken, so that the others are looked at too.
    #[must_use]
    pub fn config(self, errors: &mut ConfigErrors) -> Config {
        let mut config = Config {
            lenient: self.lenient,
            rate_limit: self.rate_limit.and_then(|requests| requests.take("--rate-limit", errors)),
            compress: self.compress,
            cors_origins: self.cors_origin,
            ..Config::builtin(self.orders_url, self.payments_url)
        };
        if let Some(listen) = self.listen.take("--listen", errors) {
            config.listen = listen;
        }
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
        if let Some(streams) = self.max_streams.take("--max-streams", errors) {
            config.max_streams = streams;
        }
        if let Some(streams) = self.max_streams_per_client.take("--max-streams-per-client", errors) {
            config.max_streams_per_client = streams;
        }
        if let Some(file) = self.upstream_ca {
            config.upstream_ca = read("--upstream-ca", &file, errors);
            let pem = config.upstream_ca.as_deref().unwrap_or(CERTIFICATE);
            let holds = pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE);
            errors.require(holds, "--upstream-ca", "the file has no certificate in PEM");
        }
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

/// How a certificate begins in PEM (RFC 7468, section 5).
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

fn read(flag: &str, file: &Path, errors: &mut ConfigErrors) -> Option<Bytes> {
    let bytes =
        fs::read(file).map_err(|error| errors.note(flag, format!("cannot read {}: {error}", file.display())));
    bytes.ok().map(Bytes::from)
}
