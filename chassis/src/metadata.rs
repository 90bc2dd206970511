//! Metadata beside messages: of a call, and that by which a service says more about an answer than its message does; the edge makes headers of it.

use http::{HeaderMap, HeaderValue};

/// The id of a request, which its caller or the edge has given it.
pub const X_REQUEST_ID: &str = "x-request-id";

/// Bytes of an id of a request at most: what is stored with what the request does has room for so many.
const REQUEST_ID_BYTES: usize = 255;

/// `true` for an answer that was given before, to an earlier request with the same key.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";

/// `true` for a stream that ends without a message, and would however often it were called again.
pub const STREAM_COMPLETE: &str = "stream-complete";

/// The id of a request with these headers, or this metadata, where it can be used: it is there once, and has 1 to 255 characters of printable ASCII.
/// The edge, services and the list of who did what have this one rule; one that is refused is as none.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut ids = headers.get_all(X_REQUEST_ID).iter();
    let id = ids.next().filter(|_| ids.next().is_none())?;
    // `to_str` takes a tab as well.
    let is_printable = id.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~'));
    ((1..=REQUEST_ID_BYTES).contains(&id.len()) && is_printable).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_request_is_one_text_of_255_characters_at_most() {
        let ids = |values: &[String]| -> HeaderMap {
            let name = http::HeaderName::from_static(X_REQUEST_ID);
            values.iter().map(|value| (name.clone(), value.parse().expect("a header value"))).collect()
        };
        for usable in ["a".to_owned(), "a b".to_owned(), "a".repeat(128), "a".repeat(129), "a".repeat(255)] {
            let headers = ids(std::slice::from_ref(&usable));
            assert_eq!(request_id(&headers).map(HeaderValue::as_bytes), Some(usable.as_bytes()));
        }
        for unusable in [
            vec![],
            vec![String::new()],
            vec!["a".repeat(256)],
            vec!["é".into()],
            vec!["a\tb".into()],
            vec!["a".into(), "a".into()],
        ] {
            assert_eq!(request_id(&ids(&unusable)), None, "{unusable:?}");
        }
    }
}
