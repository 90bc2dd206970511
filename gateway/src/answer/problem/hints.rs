//! What an error says in headers, beside its object: when to come again, and with which credentials.

use std::{collections::HashMap, time::Duration};

use chassis::{problem::challenge, status::DOMAIN};
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// What ErrorInfo says.
#[derive(Debug, Clone)]
pub(crate) struct Info {
    pub(crate) reason: String,
    pub(crate) domain: String,
    pub(crate) metadata: HashMap<String, String>,
}

/// Adds `Retry-After` and `WWW-Authenticate` to the headers of an error with this status.
pub(crate) fn hint(
    headers: &mut HeaderMap,
    http: StatusCode,
    message: &str,
    info: Option<&Info>,
    retry_after: Option<Duration>,
) {
    if let Some(time) = retry_after {
        // Whole seconds, and never at once (RFC 9110, section 10.2.3).
        headers.insert(header::RETRY_AFTER, (time.as_secs_f64().ceil().max(1.0) as u64).into());
    }
    let ours = info.filter(|info| info.domain == DOMAIN);
    let ours = ours.and_then(|info| {
        let word = |key: &str| info.metadata.get(key).map(String::as_str);
        challenge(&info.reason, message, word)
    });
    // Who is not let in learns how (RFC 9110, section 15.5.2).
    let any = || (http == StatusCode::UNAUTHORIZED).then(|| HeaderValue::from_static("Bearer"));
    headers.extend(ours.or_else(any).map(|challenge| (header::WWW_AUTHENTICATE, challenge)));
}
