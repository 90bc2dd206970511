//! How a call of a route can fail: by the reasons that its contract names, and by those that its shape brings with it.

use chassis::status::Reason;
use transcode::{
    Body, Route,
    openapi::{Failure, texts},
};

/// Every failure of a route that a document should name; whether callers need a token.
pub(super) fn of(route: &Route, has_issuer: bool) -> Vec<Failure> {
    let mut reasons = vec![Reason::MalformedRequest, Reason::InvalidField];
    if has_issuer {
        reasons.extend([Reason::Unauthenticated, Reason::ScopeMissing, Reason::NotOwner]);
    }
    if route.body != Body::Nothing {
        reasons.extend([Reason::BodyTooLarge, Reason::UnsupportedMediaType]);
    }
    if route.rpc.request_id.is_some() {
        reasons.push(Reason::IdempotencyKeyReused);
    }
    if route.method != "GET" && route.rpc.etag.is_some() {
        reasons.push(Reason::PreconditionFailed);
    }
    let named = texts(&route.rpc.method, ordermesh::REASONS);
    reasons.extend(named.iter().filter_map(|name| Reason::parse(name)));
    reasons.extend([Reason::RateLimited, Reason::UpstreamUnavailable]);
    let failure =
        |reason: Reason| Failure { status: reason.http().as_u16(), reason: reason.as_str().to_owned() };
    reasons.into_iter().map(failure).collect()
}
