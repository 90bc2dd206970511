//! Media types of bodies.

use http::{HeaderMap, HeaderValue, header};

/// Whether the body is JSON in UTF-8, or not declared at all. So is every type that is JSON by its suffix (RFC 6839, section 3.1), such as
/// `application/merge-patch+json`, but for a patch that is a list of operations (RFC 6902) and no message.
#[must_use]
pub(crate) fn declares_json(headers: &HeaderMap) -> bool {
    let Some(declared) = headers.get(header::CONTENT_TYPE) else { return true };
    let mut parts = declared.to_str().unwrap_or_default().split(';').map(str::trim);
    let json = parts.next().is_some_and(|name| {
        let (kind, subtype) = name.split_once('/').unwrap_or_default();
        let suffix = subtype.rsplit_once('+').map_or(subtype, |(_, suffix)| suffix);
        kind.eq_ignore_ascii_case("application")
            && suffix.eq_ignore_ascii_case("json")
            && !subtype.eq_ignore_ascii_case("json-patch+json")
    });
    let utf8 = |part: &str| match part.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            // The second is what Python calls it.
            ["utf-8", "utf8"].iter().any(|utf8| value.trim_matches('"').eq_ignore_ascii_case(utf8))
        }
        _ => true,
    };
    json && parts.all(utf8)
}

/// The declared type of the body; empty when there is none that can be passed on.
#[must_use]
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A service's words as the type of a body; bytes of any type when it says nothing that a header can hold.
#[must_use]
pub(crate) fn media_type(text: &str) -> HeaderValue {
    let said = HeaderValue::from_str(text).ok().filter(|value| !value.is_empty());
    said.unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf8_is_read() {
        for (line, json) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;charset=utf8", true),
            ("application/merge-patch+json", true),
            ("application/vnd.shop.v1+json; charset=\"utf-8\"", true),
            ("application/json-patch+json", false),
            ("application/xml+jsonp", false),
            ("text/json", false),
            ("+json", false),
            ("application/json; charset=latin1", false),
            ("application/jsonp", false),
            ("text/plain", false),
        ] {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, line.parse().expect("a header value"))]);
            assert_eq!(declares_json(&headers), json, "{line}");
        }
    }
}
