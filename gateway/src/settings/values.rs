//! The checked values of an edge's settings.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use auth::{AuthConfig, Verifier};
use bytes::Bytes;
use chassis::{
    clock::{Clock, SystemClock},
    tls::{ClientTls, ServerTls},
};
use http::HeaderName;
use ipnet::IpNet;
use upstream::{Location, Resolver, SystemResolver, Trust};

/// An edge's settings, as values.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// TLS of that listener.
    pub tls: ServerTls,
    /// TLS of the operator's listener, as the settings say it.
    pub admin_tls: ServerTls,
    /// The encoded `google.protobuf.FileDescriptorSet` of what is served, with its options.
    pub descriptor_set: Bytes,
    /// Whether somebody else wrote these descriptors, and what could not be had of them. Then a part that cannot be served is left out and
    /// named in a warning, with those; otherwise it is a error.
    pub foreign: Option<Vec<String>>,
    /// Where the services are.
    pub upstreams: Upstreams,
    /// TLS towards services at `https` URLs.
    pub upstream_tls: ClientTls,
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
    /// How many of them one address may have that is no trusted proxy; three quarters of all without it.
    pub max_connections_per_client: Option<usize>,
    /// How many requests are open at most. Streams count until they begin.
    pub max_requests: usize,
    /// How many of them a caller may have; half of all without it.
    pub max_requests_per_client: Option<usize>,
    /// How many streams are open at most.
    pub max_streams: usize,
    /// How many of them a caller may have: the subject of a token, or without one a client's address.
    pub max_streams_per_client: usize,
    /// How many of a method, by its name as in gRPC's path, a caller may have.
    pub method_streams: BTreeMap<String, usize>,
    /// How many requests a caller may make in a second, and at once.
    pub rate_limit: Option<NonZeroU32>,
    /// How many of a method, by its name as in gRPC's path.
    pub method_limits: BTreeMap<String, NonZeroU32>,
    /// The proxies that say in `Forwarded` or `X-Forwarded-For` whose requests they hand on.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether answers are compressed for clients that accept it.
    pub compress: bool,
    /// Headers of requests that become metadata of the call, beside those that always do.
    pub forward_headers: Vec<HeaderName>,
    /// Metadata of answers that become headers.
    pub return_metadata: Vec<HeaderName>,
    /// The origins whose pages may read answers; `*` alone for all.
    pub cors_origins: Vec<String>,
    /// How often a service that describes itself is asked whether its descriptors have changed.
    pub reflect_every: Duration,
    /// Who may call, as the settings say it; for who embeds an edge, `issuer` decides.
    pub auth: AuthConfig,
    /// Whether requests for names of other machines are refused: where nobody is asked who calls, a page of anywhere could otherwise call
    /// through the browser of its reader, when its own name is made to lead here.
    pub own_machine: bool,
    /// Whose tokens callers need; `None`: nobody is asked who calls.
    pub issuer: Option<Verifier>,
    /// The document at `/.well-known/jwks.json`, where the edge publishes keys.
    pub jwks: Option<Bytes>,
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

pub(super) const ORDERS_URL: &str = "http://127.0.0.1:5001";
pub(super) const PAYMENTS_URL: &str = "http://127.0.0.1:5002";
/// The full names of the built-in services.
pub const ORDERS: &str = "ordermesh.orders.v1.OrdersService";
/// As [`ORDERS`].
pub const PAYMENTS: &str = "ordermesh.payments.v1.PaymentsService";

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
        Trust { tls: &self.upstream_tls, resolver: &self.resolver }
    }

    /// The built-in services, and defaults for everything else.
    #[must_use]
    pub fn builtin(orders: impl Into<Location>, payments: impl Into<Location>) -> Self {
        let services = [(ORDERS, orders.into()), (PAYMENTS, payments.into())];
        let services = services.map(|(service, location)| (service.to_owned(), location));
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            tls: ServerTls::default(),
            admin_tls: ServerTls::default(),
            descriptor_set: Bytes::from_static(ordermesh::DESCRIPTOR_SET),
            foreign: None,
            upstreams: Upstreams::Each(services.into()),
            upstream_tls: ClientTls::default(),
            lenient: false,
            max_body_bytes: 1 << 20,
            request_timeout: Duration::from_secs(15),
            max_buffered_bytes: 256 << 20,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_connections: 16_384,
            max_connections_per_client: None,
            max_requests: 4_096,
            max_requests_per_client: None,
            max_streams: 16_384,
            max_streams_per_client: 4_096,
            method_streams: BTreeMap::new(),
            rate_limit: None,
            method_limits: BTreeMap::new(),
            trusted_proxies: Vec::new(),
            compress: false,
            forward_headers: Vec::new(),
            return_metadata: Vec::new(),
            cors_origins: Vec::new(),
            auth: AuthConfig::default(),
            own_machine: false,
            issuer: None,
            jwks: None,
            reflect_every: Duration::from_secs(60),
            resolver: Arc::new(SystemResolver),
            clock: SystemClock::shared(),
        }
    }
}
