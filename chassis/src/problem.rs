//! Failures as HTTP shows them: problem details (RFC 9457), and what a client that was not let in needs (RFC 6750).

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::{
    catalogue,
    status::{Fault, Reason, Violation},
};

/// The content type of problem details.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// RFC 9457, section 3. The type is where the reason is described, as a reference with the full path (section 3.1.1), or `about:blank`
/// (section 4.2.1) for a reason that is not `ours`. `instance` is the path of the request.
#[must_use]
pub fn details(
    status: StatusCode,
    detail: &str,
    instance: &str,
    (reason, ours): (&str, Option<Reason>),
    violations: &[Violation],
) -> Value {
    let errors = |at: &Violation| json!({ "field": at.field, "detail": at.description });
    json!({
        "type": ours.map_or_else(|| "about:blank".to_owned(), catalogue::path),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "instance": instance,
        "reason": reason,
        "errors": violations.iter().map(errors).collect::<Vec<_>>(),
    })
}

/// `Retry-After`: whole seconds, and never at once (RFC 9110, section 10.2.3).
#[must_use]
pub fn retry_after(time: Duration) -> HeaderValue {
    (time.as_secs_f64().ceil().max(1.0) as u64).into()
}

/// `WWW-Authenticate` (RFC 6750, section 3) of a failure with this reason of ours, by the words in the metadata of its ErrorInfo; `None` where
/// other credentials would change nothing.
pub fn challenge<'w>(
    reason: &str,
    message: &str,
    word: impl Fn(&str) -> Option<&'w str>,
) -> Option<HeaderValue> {
    let text = match Reason::parse(reason)? {
        Reason::ScopeMissing => {
            format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", quotable(word("scope")?))
        }
        // Who has sent none gets no error code.
        Reason::Unauthenticated if matches!(word("check"), None | Some("present")) => "Bearer".to_owned(),
        Reason::Unauthenticated => {
            format!("Bearer error=\"invalid_token\", error_description=\"{}\"", quotable(message))
        }
        _ => return None,
    };
    HeaderValue::from_str(&text).ok()
}

/// The characters that may stand between the quotes.
fn quotable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect()
}

impl Fault {
    /// Its challenge, if it has one.
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        challenge(self.reason.as_str(), &self.message, |key| self.metadata.get(key).map(String::as_str))
    }

    /// Its problem details, for a request of this path.
    #[must_use]
    pub fn details(&self, instance: &str) -> Value {
        let reason = (self.reason.as_str(), Some(self.reason));
        details(self.reason.http(), &self.message, instance, reason, &self.violations)
    }
}
