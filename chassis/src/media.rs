//! What a request accepts (RFC 9110, section 12.5.1).

use http::{HeaderMap, header};

/// Whether `Accept` names this media type itself: a wildcard does not, and `q=0` refuses it.
#[must_use]
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    accepted(headers).any(|(name, _)| name.eq_ignore_ascii_case(media_type))
}

/// Whether `Accept` names this media type itself, and with no lower weight than the `other`.
#[must_use]
pub fn prefers(headers: &HeaderMap, media_type: &str, other: &str) -> bool {
    let weight = |wanted: &str| {
        let weights = accepted(headers).filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        weights.map(|(_, weight)| weight).fold(0.0, f32::max)
    };
    accepts(headers, media_type) && weight(media_type) >= weight(other)
}

/// Whether `Accept` names this media type, and no other.
#[must_use]
pub fn accepts_only(headers: &HeaderMap, media_type: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (header::ACCEPT, line.parse().expect("a header value"))).collect()
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
            assert_eq!(accepts(&accept(&[line]), problem), named, "{line}");
        }
        assert!(accepts(&accept(&["text/html", problem]), problem));
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
            let headers = accept(&[line]);
            assert_eq!(prefers(&headers, "application/x-ndjson", "text/event-stream"), preferred, "{line}");
        }
    }
}
