//! Who has caused something, and by which request: it is stored with that and travels with its messages. It is for an audit; nothing is
//! ever decided by it, for whoever may publish can write what they like.

use crate::envelope::Envelope;

/// Bytes of each of these at most (OpenID Connect Core, section 2, has 255 characters of ASCII for a subject).
pub const LONGEST: usize = 255;

/// On whose behalf something is done. Each part may be absent: without an issuer nobody says who calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The claim `sub` of the token.
    pub subject: Option<String>,
    /// The claim `jti` of the token.
    pub token_id: Option<String>,
    /// The trace that the request is part of: 32 hexadecimal digits.
    pub trace_id: Option<String>,
    /// The header `X-Request-Id` of the request. Messages carry it only where their payload has a field for it.
    pub x_request_id: Option<String>,
}

impl Origin {
    /// That of what a message causes: what came with the message.
    #[must_use]
    pub fn of(message: &Envelope) -> Self {
        Self {
            subject: message.subject.clone(),
            token_id: message.token_id.clone(),
            trace_id: message.traceparent.as_deref().and_then(trace_id),
            x_request_id: None,
        }
    }
}

/// The trace id in a `traceparent`, if that is one.
#[must_use]
pub fn trace_id(traceparent: &str) -> Option<String> {
    let id = traceparent.get(3..35)?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    id.bytes().all(is_digit).then(|| id.to_owned())
}

/// A subject, or an id of a token or of a request, that can be stored: neither empty nor too long, and without U+0000.
#[must_use]
pub fn storable(text: &str) -> Option<&str> {
    ((1..=LONGEST).contains(&text.len()) && !text.contains('\0')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_trace_has_no_id() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        for text in ["", "00-", "00-é", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"] {
            assert_eq!(trace_id(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_stored_is_none() {
        assert_eq!(storable(&"a".repeat(255)).map(str::len), Some(255));
        for text in [String::new(), "a".repeat(256), "a\0b".to_owned()] {
            assert_eq!(storable(&text), None);
        }
    }
}
