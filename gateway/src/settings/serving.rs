//! How clients are served, and within which bounds: the same flags wherever there is an edge.

use std::num::NonZeroU32;

use chassis::settings::{Checked, ConfigErrors};

use super::{callers, timeout::Timeout, values::Config};

/// The flags of how clients are served.
#[derive(Debug, Clone, clap::Args)]
pub struct ServingSettings {
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
    /// How many of them one address may have, unless it is a trusted proxy: further ones are closed. Without it three quarters of all. A network
    /// of IPv6 with 64 bits counts as one address
    #[arg(long, env = "GATEWAY_MAX_CONNECTIONS_PER_CLIENT")]
    pub max_connections_per_client: Option<Checked<usize>>,
    /// How many requests are open at most, a stream only until it has begun; one more is refused (429). One service may have
    /// three quarters of them, and another one three quarters of what that has left, so that a slow one leaves slots to the others
    #[arg(long, env = "GATEWAY_MAX_REQUESTS", default_value = "4096")]
    pub max_requests: Checked<usize>,
    /// How many of them a caller may have: the subject of a token, or without one a client's address. Without it half of all
    #[arg(long, env = "GATEWAY_MAX_REQUESTS_PER_CLIENT")]
    pub max_requests_per_client: Option<Checked<usize>>,
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
}

impl ServingSettings {
    /// These settings with those values. A mistaken one is noted and left as it is, so that the others are looked at too.
    #[must_use]
    pub fn onto(self, config: Config, errors: &mut ConfigErrors) -> Config {
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
            ..config
        };
        if let Some(bytes) = self.max_body_bytes.take("--max-body-bytes", errors) {
            config.max_body_bytes = bytes;
        }
        if let Some(bytes) = self.max_buffered_bytes.take("--max-buffered-bytes", errors) {
            errors.require(
                bytes >= config.max_body_bytes,
                "--max-buffered-bytes",
                "must be at least --max-body-bytes",
            );
            config.max_buffered_bytes = bytes;
        }
        for (flag, timeout, value) in [
            ("--request-timeout", self.request_timeout, &mut config.request_timeout),
            ("--header-timeout", self.header_timeout, &mut config.header_timeout),
            ("--idle-timeout", self.idle_timeout, &mut config.idle_timeout),
        ] {
            *value = timeout.take(flag, errors).map_or(*value, Into::into);
        }
        for (flag, number, least, value) in [
            ("--max-connections", self.max_connections, 1, &mut config.max_connections),
            ("--max-requests", self.max_requests, 1, &mut config.max_requests),
            ("--max-streams", self.max_streams, 0, &mut config.max_streams),
            ("--max-streams-per-client", self.max_streams_per_client, 0, &mut config.max_streams_per_client),
        ] {
            *value = count(flag, number, least, errors).unwrap_or(*value);
        }
        for (flag, number, value) in [
            (
                "--max-connections-per-client",
                self.max_connections_per_client,
                &mut config.max_connections_per_client,
            ),
            ("--max-requests-per-client", self.max_requests_per_client, &mut config.max_requests_per_client),
        ] {
            *value = number.and_then(|number| count(flag, number, 1, errors));
        }
        config
    }
}

fn count(flag: &str, number: Checked<usize>, least: usize, errors: &mut ConfigErrors) -> Option<usize> {
    let number = number.take(flag, errors)?;
    errors.require(number >= least, flag, format!("must be at least {least}"));
    Some(number)
}
