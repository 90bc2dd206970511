//! What an error says in headers, beside its object: when to come again, and with which credentials.

use std::{collections::HashMap, time::Duration};

use chassis::{problem, status::DOMAIN};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tonic_types::ErrorDetails;

/// What ErrorInfo says.
#[derive(Debug, Clone)]
pub(crate) struct Info {
    pub(crate) reason: String,
    pub(crate) domain: String,
    pub(crate) metadata: HashMap<String, String>,
}

impl Info {
    /// What it says among the details of a status, if it is there.
    pub(crate) fn of(details: &ErrorDetails) -> Option<Self> {
        let info = details.error_info()?;
        let (reason, domain) = (info.reason.clone(), info.domain.clone());
        Some(Self { reason, domain, metadata: info.metadata.clone() })
    }
}

/// Adds `Retry-After` and `WWW-Authenticate` to the headers of an error with this status.
pub(crate) fn hint(
    headers: &mut HeaderMap,
    http: StatusCode,
    message: &str,
    info: Option<&Info>,
    retry_after: Option<Duration>,
) {
    headers.extend(retry_after.map(|time| (header::RETRY_AFTER, problem::retry_after(time))));
    let ours = info.filter(|info| info.domain == DOMAIN);
    let ours = ours.and_then(|info| {
        let word = |key: &str| info.metadata.get(key).map(String::as_str);
        problem::challenge(&info.reason, message, word)
    });
    // Who is not let in learns how (RFC 9110, section 15.5.2).
    let any = || (http == StatusCode::UNAUTHORIZED).then(|| HeaderValue::from_static("Bearer"));
    headers.extend(ours.or_else(any).map(|challenge| (header::WWW_AUTHENTICATE, challenge)));
}
