//! Where clients reach the edge, as a request shows it: documents name it, so that whoever has one in a file knows whom to call.

use axum::extract::Request;
use chassis::tls::ServerTls;
use http::{HeaderMap, HeaderName, header, uri::Authority};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// What proxies write of where a request came to.
const FORWARDING: [HeaderName; 4] =
    [header::FORWARDED, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_FORWARDED_PREFIX];

/// The URL of the whole API, without a slash at its end; whether whoever sent the request is trusted. `None` where it is not known: behind a
/// proxy that is not trusted, the edge may be called by another name than its clients'.
pub(super) fn of(tls: &ServerTls, is_trusted: bool, request: &Request) -> Option<String> {
    let headers = request.headers();
    let is_forwarded = FORWARDING.iter().any(|name| headers.contains_key(name));
    if is_forwarded && !is_trusted {
        return None;
    }
    let own =
        || request.uri().authority().map(Authority::to_string).or_else(|| first(headers, &header::HOST));
    url(tls, headers, own)
}

fn url(tls: &ServerTls, headers: &HeaderMap, own: impl Fn() -> Option<String>) -> Option<String> {
    let said = |name: &HeaderName, parameter| first(headers, name).or_else(|| standard(headers, parameter));
    let scheme = match said(&X_FORWARDED_PROTO, "proto").as_deref() {
        Some("https") => "https",
        Some("http") => "http",
        _ if tls.is_on() => "https",
        _ => "http",
    };
    let host = said(&X_FORWARDED_HOST, "host").or_else(own)?;
    let authority: Authority = host.parse().ok().filter(|_| !host.contains('@'))?;
    let prefix = first(headers, &X_FORWARDED_PREFIX).unwrap_or_default();
    let prefix = prefix.trim_end_matches('/');
    let is_path = |text: &str| {
        text.starts_with('/')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte))
    };
    (prefix.is_empty() || is_path(prefix)).then(|| format!("{scheme}://{authority}{prefix}"))
}

/// The first of what a header lists: what the proxy wrote that is nearest to the client.
fn first(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let line = headers.get(name)?.to_str().ok()?;
    Some(line.split(',').next()?.trim().to_owned())
}

/// A parameter of the first element of `Forwarded` (RFC 7239, section 4).
fn standard(headers: &HeaderMap, parameter: &str) -> Option<String> {
    let element = first(headers, &header::FORWARDED)?;
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case(parameter))?;
    Some(value.trim_matches('"').to_owned())
}
