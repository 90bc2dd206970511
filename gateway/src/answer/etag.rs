//! Entity tags of answers to reads, so that who has an answer already need not get it again (RFC 9110, sections 8.8.3 and 13.1.2).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use http::{HeaderMap, HeaderValue, header};

use crate::wire::varint;

/// The weak tag of an answer, by its wire bytes: its JSON may be encoded in several ways, and means the same in each. It begins with the
/// version where the answer is a resource that has one, in an int64 field of this number, so that a service can compare it (`If-Match`).
///
/// It distinguishes versions for caches, and keeps no secret: no cryptographic hash is needed.
#[must_use]
pub(crate) fn of(wire: &[u8], version: Option<u32>) -> Option<HeaderValue> {
    // Keyed alike in every process: all edges in front of a service give one answer the same tag.
    let mut hasher = DefaultHasher::new();
    wire.hash(&mut hasher);
    let (hash, length) = (hasher.finish(), wire.len());
    let tag = match version.and_then(|number| varint(wire, number)) {
        Some(version) => format!("W/\"{version}-{hash:016x}-{length:x}\""),
        None => format!("W/\"{hash:016x}-{length:x}\""),
    };
    HeaderValue::from_str(&tag).ok()
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
        let tag = of(b"abc", None).expect("a header value");
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
        assert_ne!(of(b"abc", None), of(b"abd", None));
    }

    #[test]
    fn a_tag_begins_with_the_version_of_a_resource() {
        // A text in field 1, and 300 in field 12.
        let wire = [0x0a, 1, b'a', 0x60, 0xac, 0x02];
        let tag = |version| of(&wire, version).expect("a header value").to_str().expect("ASCII").to_owned();
        assert!(tag(Some(12)).starts_with("W/\"300-"), "{}", tag(Some(12)));
        assert_eq!((tag(Some(1)), tag(Some(11))), (tag(None), tag(None)));
    }
}
