//! Which pages of other origins may read the edge's answers (WHATWG Fetch, section 3.2).

use std::time::Duration;

use chassis::settings::ConfigErrors;
use http::{HeaderName, HeaderValue, header};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, Any, CorsLayer, ExposeHeaders};
use url::{Origin, Url};

use upstream::IDEMPOTENCY_REPLAYED;

use super::rate::{RATELIMIT, RATELIMIT_POLICY};
use crate::request::headers::{X_IGNORED, X_REQUEST_ID};

/// How long a browser need not ask again.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// Headers of answers that a page may read; others it sees anyway, or never.
const EXPOSED: [HeaderName; 12] = [
    header::ALLOW,
    header::ETAG,
    header::RETRY_AFTER,
    RATELIMIT,
    RATELIMIT_POLICY,
    header::WWW_AUTHENTICATE,
    X_REQUEST_ID,
    X_IGNORED,
    IDEMPOTENCY_REPLAYED,
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

/// The layer for these origins, `*` for all; `None` without any, or after an error was noted.
///
/// A page may use every method and send every header: what the edge does not know it passes over, or refuses by itself. Cookies
/// mean nothing to the edge, so pages are not allowed to send them.
pub(crate) fn layer(origins: &[String], errors: &mut ConfigErrors) -> Option<CorsLayer> {
    let allowed = if is_any(origins) {
        AllowOrigin::from(Any)
    } else {
        let read = |text: &String| {
            origin(text).or_else(|| {
                errors.note(
                    "--cors-origin",
                    format!("{text:?} is not of the form https://host[:port], and not the only *"),
                );
                None
            })
        };
        let origins: Option<Vec<HeaderValue>> = origins.iter().map(read).collect();
        AllowOrigin::list(origins.filter(|origins| !origins.is_empty())?)
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(EXPOSED))
        .max_age(MAX_AGE);
    Some(layer)
}

/// Whether the settings, without an error, name the origin that a browser has sent.
pub(crate) fn allows(origins: &[String], asking: &HeaderValue) -> bool {
    is_any(origins) || origins.iter().filter_map(|text| origin(text)).any(|allowed| allowed == asking)
}

fn is_any(origins: &[String]) -> bool {
    origins == ["*"]
}

/// An origin as browsers write it.
fn origin(text: &str) -> Option<HeaderValue> {
    let origin = Url::parse(text).ok()?.origin();
    let whole = origin.ascii_serialization() == text.trim_end_matches('/');
    matches!(origin, Origin::Tuple(..) if whole).then(|| origin.ascii_serialization().parse().ok())?
}
