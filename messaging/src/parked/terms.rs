//! Words with digits that are part of a wording: they say the same in each message.

/// Types, encodings and algorithms.
const NAMES: [&str; 20] = [
    "base64", "ed25519", "fixed32", "fixed64", "int16", "int32", "int64", "ipv4", "ipv6", "md5", "proto2",
    "proto3", "sfixed32", "sfixed64", "sha256", "sint32", "sint64", "uint32", "uint64", "utf8",
];

/// What stands before the number of a standard or of its version.
const STANDARDS: [&str; 9] = ["AIP", "AMQP", "HTTP", "IEEE", "ISO", "RFC", "SHA", "TLS", "UTF"];

/// How many bytes of `text` from `at` on are one of these; `word` is what stands there.
pub(super) fn fixed(text: &str, at: usize, word: &str) -> Option<usize> {
    let (before, after) = (&text[..at], &text[at + word.len()..]);
    if NAMES.iter().any(|name| name.eq_ignore_ascii_case(word))
        || word.split_once('-').is_some_and(|(name, number)| STANDARDS.contains(&name) && is_number(number))
        || is_version(word) && before.ends_with('.') && after.starts_with('.')
    {
        return Some(word.len());
    }
    let name = before.strip_suffix([' ', '/'])?;
    let start = name.rfind(|letter: char| !letter.is_alphanumeric()).map_or(0, |last| last + 1);
    // Whoever ends with the byte of a longer letter is no such name either.
    let is_of_standard = name.get(start..).is_some_and(|name| STANDARDS.contains(&name)) && is_number(word);
    is_of_standard.then(|| {
        let rest = &text[at..];
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '-' && letter != '.');
        number.map_or(rest, |end| &rest[..end]).trim_end_matches('.').len()
    })
}

fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// The version in the name of a protobuf package, such as `v1` or `v1beta2`.
fn is_version(word: &str) -> bool {
    let Some(version) = word.strip_prefix('v') else { return false };
    let numbers = ["alpha", "beta"].iter().find_map(|stage| version.split_once(stage));
    let (major, minor) = numbers.unwrap_or((version, "0"));
    [major, minor].iter().all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::super::common;

    #[test]
    fn digits_of_a_wording_are_no_values() {
        for wording in [
            "must be the ISO 4217 code of a supported currency",
            "a time of ISO 8601-1, or of RFC 3339.",
            "the payload is no UTF-8 and its digest no SHA-256",
            "HTTP/1.1 and TLS 1.3",
            "no int64, but a base64 of IPv6",
            "payments does not know messages of the kind ordermesh.orders.v1beta2.Order",
            "RFC 3339",
        ] {
            assert_eq!(common(wording), wording);
        }
    }

    #[test]
    fn digits_of_values_are_none_of_a_wording() {
        for (error, text) in [
            ("order 4217 of ISO", "order # of ISO"),
            ("the code ISO4217 of u2", "the code # of #"),
            ("PISO 4217 is v1", "PISO # is #"),
            ("4 RUB 4217", "# RUB #"),
            ("utf8-17 of v1.2", "# of #"),
            ("é/7 ISO x9", "é/# ISO #"),
        ] {
            assert_eq!(common(error), text);
        }
    }
}
