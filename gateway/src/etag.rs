//! Entity tags of answers to reads, so that who has an answer already need not get it again (RFC 9110, sections 8.8.3 and 13.1.2).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use http::{HeaderMap, HeaderValue, header};

/// The weak tag of an answer, by its wire bytes: its JSON may be encoded in several ways, and means the same in each.
///
/// It tells versions apart for caches, and keeps no secret: no cryptographic hash is needed.
#[must_use]
pub(crate) fn of(wire: &[u8]) -> Option<HeaderValue> {
    // Keyed alike in every process: all edges in front of a service give one answer the same tag.
    let mut hasher = DefaultHasher::new();
    wire.hash(&mut hasher);
    HeaderValue::from_str(&format!("W/\"{:016x}-{:x}\"", hasher.finish(), wire.len())).ok()
}

/// Whether `If-None-Match` names the tag, or any; the comparison is the weak one.
#[must_use]
pub(crate) fn matches(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Ok(tag) = tag.to_str().map(strong) else { return false };
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|one| one.trim() == "*" || strong(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_and_in_lists() {
        let tag = of(b"abc").expect("a header value");
        let text = tag.to_str().expect("ASCII").to_owned();
        let headers =
            |value: &str| HeaderMap::from_iter([(header::IF_NONE_MATCH, value.parse().expect("a value"))]);
        for value in
            [text.clone(), text.trim_start_matches("W/").to_owned(), format!("\"x\", {text}"), "*".to_owned()]
        {
            assert!(matches(&headers(&value), &tag), "{value}");
        }
        assert!(!matches(&headers("\"x\""), &tag));
        assert!(!matches(&HeaderMap::new(), &tag));
        assert_ne!(of(b"abc"), of(b"abd"));
    }
}
