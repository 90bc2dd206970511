//! Media types: what a request accepts, and what its body is.

use http::{HeaderMap, HeaderValue, header};

/// Whether `Accept` names this media type itself: a wildcard does not, and `q=0` refuses it (RFC 9110, section 12.5.1).
#[must_use]
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    accepted(headers).any(|(name, _)| name.eq_ignore_ascii_case(media_type))
}

/// Whether `Accept` names this media type itself, and with no lower weight than the `other`.
#[must_use]
pub(crate) fn prefers(headers: &HeaderMap, media_type: &str, other: &str) -> bool {
    let weight = |wanted: &str| {
        let weights = accepted(headers).filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        weights.map(|(_, weight)| weight).fold(0.0, f32::max)
    };
    accepts(headers, media_type) && weight(media_type) >= weight(other)
}

/// Whether `Accept` names this media type, and no other.
#[must_use]
pub(crate) fn accepts_only(headers: &HeaderMap, media_type: &str) -> bool {
    accepts(headers, media_type) && accepted(headers).all(|(name, _)| name.eq_ignore_ascii_case(media_type))
}

/// The media types that `Accept` names and does not refuse, with their weights.
fn accepted(headers: &HeaderMap) -> impl Iterator<Item = (&str, f32)> {
    let lines = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next()?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(Some(1.0), |weight| weight.parse().ok());
        weight.filter(|weight| *weight > 0.0).map(|weight| (name, weight))
    })
}

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

    fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().expect("a header value"))).collect()
    }

    #[test]
    fn accept_names_a_type_itself() {
        let problem = "application/problem+json";
        for (line, named) in [
            ("application/problem+json", true),
            ("text/html, Application/Problem+JSON;q=0.5", true),
            ("application/problem+json;q=0", false),
            ("*/*", false),
            ("application/json", false),
        ] {
            assert_eq!(accepts(&headers(header::ACCEPT, &[line]), problem), named, "{line}");
        }
        assert!(accepts(&headers(header::ACCEPT, &["text/html", problem]), problem));
    }

    #[test]
    fn the_weight_of_a_type_counts() {
        for (line, preferred) in [
            ("text/event-stream, application/x-ndjson;q=0.5", false),
            ("text/event-stream;q=0.4, application/x-ndjson;q=0.5", true),
            ("text/event-stream, application/x-ndjson", true),
            ("application/x-ndjson;q=0.1", true),
            ("application/x-ndjson;q=0", false),
            ("application/x-ndjson;q=x", false),
            ("*/*", false),
        ] {
            let accept = headers(header::ACCEPT, &[line]);
            assert_eq!(prefers(&accept, "application/x-ndjson", "text/event-stream"), preferred, "{line}");
        }
    }

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
            assert_eq!(declares_json(&headers(header::CONTENT_TYPE, &[line])), json, "{line}");
        }
    }
}
