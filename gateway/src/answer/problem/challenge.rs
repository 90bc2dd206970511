//! `WWW-Authenticate`: what a client that was not let in needs (RFC 6750, section 3).

use std::collections::HashMap;

use chassis::status::Reason;
use http::HeaderValue;

/// The challenge for a failure with this reason of ours, and these words in the metadata of its ErrorInfo.
pub(super) fn of(reason: &str, message: &str, metadata: &HashMap<String, String>) -> Option<HeaderValue> {
    let word = |key: &str| metadata.get(key).map(String::as_str);
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
