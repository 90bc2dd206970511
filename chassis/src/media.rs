//! What a request accepts: media types (RFC 9110, section 12.5.1) and codings (section 12.5.3).

use http::{HeaderMap, HeaderName, header};

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

/// The coding of an answer, of those that are `offered`, the best first: the one with the highest weight. `None` for an answer without a coding:
/// it goes before what weighs less, where it is named itself or by `*`, and is what is left where nothing is accepted, which that section allows.
#[must_use]
pub fn coding(headers: &HeaderMap, offered: &[&'static str]) -> Option<&'static str> {
    let named = |wanted: &str| {
        let mut found = weighed(headers, &header::ACCEPT_ENCODING);
        found.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, weight)| weight)
    };
    let any = named("*");
    let mut best = None;
    let mut highest = named("identity").or(any).unwrap_or(0.0);
    for coding in offered {
        // Its older name (RFC 9110, section 8.4.1.3).
        let weight = named(coding).or_else(|| named("x-gzip").filter(|_| *coding == "gzip")).or(any);
        let weight = weight.unwrap_or(0.0);
        // Beside an answer without a coding, one that weighs the same is preferred.
        if weight > highest || best.is_none() && weight > 0.0 && weight >= highest {
            (best, highest) = (Some(*coding), weight);
        }
    }
    best
}

/// The media types that `Accept` names and does not refuse, with their weights.
fn accepted(headers: &HeaderMap) -> impl Iterator<Item = (&str, f32)> {
    weighed(headers, &header::ACCEPT).filter(|(_, weight)| *weight > 0.0)
}

/// What a header lists, with the weight of each (RFC 9110, section 12.4.2); what has a weight that is none is passed over.
fn weighed<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = (&'h str, f32)> + use<'h> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next()?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(Some(1.0), |weight| weight.parse().ok());
        weight.filter(|weight| (0.0..=1.0).contains(weight)).map(|weight| (name, weight))
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

    #[test]
    fn the_weight_of_a_coding_counts() {
        for (line, chosen) in [
            ("gzip", Some("gzip")),
            ("x-gzip", Some("gzip")),
            ("GZIP;Q=0.1", Some("gzip")),
            ("gzip, zstd, br", Some("zstd")),
            ("gzip, br;q=0.9", Some("gzip")),
            ("*", Some("zstd")),
            ("*;q=0.2, gzip", Some("gzip")),
            ("zstd;q=0, *", Some("br")),
            ("gzip;q=0.5, identity;q=1", None),
            ("gzip;q=0.5, identity", None),
            ("gzip;q=0.5, identity;q=0.5", Some("gzip")),
            ("identity;q=0.3, gzip;q=0.5", Some("gzip")),
            ("gzip;q=0.5, identity;q=0", Some("gzip")),
            ("gzip;q=0.5, *;q=0", Some("gzip")),
            ("identity;q=0, *;q=0, br;q=0.001", Some("br")),
            ("identity, *;q=0.5", None),
            ("gzip;q=0", None),
            ("identity;q=0", None),
            ("*;q=0", None),
            ("deflate", None),
            ("gzip;q=2", None),
            ("gzip;q=x", None),
            ("", None),
        ] {
            let headers =
                HeaderMap::from_iter([(header::ACCEPT_ENCODING, line.parse().expect("a header value"))]);
            assert_eq!(coding(&headers, &["zstd", "br", "gzip"]), chosen, "{line}");
        }
        assert_eq!(coding(&HeaderMap::new(), &["gzip"]), None);
        let offered_alone = HeaderMap::from_iter([(
            header::ACCEPT_ENCODING,
            "gzip;q=0.5, *;q=0.8".parse().expect("a value"),
        )]);
        assert_eq!(coding(&offered_alone, &["gzip"]), None, "what has no coding weighs 0.8");
    }
}
