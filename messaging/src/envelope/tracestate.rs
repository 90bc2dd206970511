//! The limits of `tracestate` (W3C Trace Context, section 3.3.1): what is stored and published is within them, whoever wrote it.

use opentelemetry::trace::TraceState;

/// Characters that every system has to hand on, and that no more are handed on than.
const MOST_CHARACTERS: usize = 512;

/// Members longer than this go first where there is not room for all.
const LONG_MEMBER: usize = 128;

/// A `tracestate` as it goes on: its first 32 members, as far as they fit. `None` for one that is malformed or empty.
pub(crate) fn read(text: &str) -> Option<String> {
    let is_visible = text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let state: TraceState = text.parse().ok().filter(|_| is_visible)?;
    // The library takes both.
    if state.into_iter().any(|(key, value)| key.is_empty() || value.is_empty()) {
        return None;
    }
    let mut members: Vec<String> = state.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let length = |members: &[String]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    while length(&members) > MOST_CHARACTERS + 1 {
        let long = members.iter().rposition(|member| member.len() > LONG_MEMBER);
        members.remove(long.unwrap_or(members.len() - 1));
    }
    (!members.is_empty()).then(|| members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(members: usize, value: &str) -> String {
        (0..members).map(|number| format!("k{number}={value}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn what_is_well_formed_goes_on() {
        for (text, read_as) in [
            ("vendor=one", "vendor=one"),
            ("a=1,b=2", "a=1,b=2"),
            ("a=1 ,\t b=2,,", "a=1,b=2"),
            ("tenant@system=x y!", "tenant@system=x y!"),
        ] {
            assert_eq!(read(text).as_deref(), Some(read_as), "{text}");
        }
        assert_eq!(read(&numbered(32, "v")), Some(numbered(32, "v")));
    }

    #[test]
    fn what_is_malformed_is_left_out() {
        for text in ["", " , ", "a", "=1", "a=", "A=1", "a=1=2", "a=\0", "a=\u{e9}", "a=1,b"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read(&format!("a={}", "v".repeat(257))), None);
    }

    #[test]
    fn what_is_beyond_the_limits_is_left_out() {
        assert_eq!(read(&numbered(33, "v")), Some(numbered(32, "v")));
        let (long, short) = (format!("long={}", "v".repeat(200)), numbered(32, "0123456789abcdef"));
        // The long one first, wherever it is, and then from the end.
        let shortened = read(&format!("{long},{short}")).expect("a part of it");
        assert!(shortened.len() <= MOST_CHARACTERS && !shortened.contains("long"), "{shortened}");
        assert!(short.starts_with(&shortened) && shortened.len() > MOST_CHARACTERS - 20, "{shortened}");
        let whole = format!("a={},b={}", "v".repeat(253), "v".repeat(254));
        assert_eq!((whole.len(), read(&whole)), (MOST_CHARACTERS, Some(whole.clone())));
    }
}
