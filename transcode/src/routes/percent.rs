//! Percent-decoding (RFC 3986, section 2.1) that refuses what it cannot decode instead of passing it on.

/// Why text cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    /// A `%` without two hexadecimal digits.
    #[error("has a `%` without two hexadecimal digits")]
    Escape,
    /// Bytes that are no text.
    #[error("is not UTF-8")]
    Utf8,
}

/// Decodes every escape: a path segment.
///
/// # Errors
/// A broken escape, or bytes that are not UTF-8.
pub(crate) fn decode(text: &str) -> Result<String, PercentError> {
    convert(text, |_| true, |byte| byte)
}

/// Decodes every escape but `%2F`: a value of several segments, in which a decoded slash would look like a separator.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_path(text: &str) -> Result<String, PercentError> {
    convert(text, |byte| byte != b'/', |byte| byte)
}

/// Decodes a part of a query string, where `+` is a space (application/x-www-form-urlencoded).
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_query(text: &str) -> Result<String, PercentError> {
    convert(text, |_| true, |byte| if byte == b'+' { b' ' } else { byte })
}

fn convert(
    text: &str,
    wanted: impl Fn(u8) -> bool,
    plain: impl Fn(u8) -> u8,
) -> Result<String, PercentError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            decoded.push(plain(byte));
            rest = tail;
            continue;
        }
        let ([high, low], after) = tail.split_first_chunk::<2>().ok_or(PercentError::Escape)?;
        let escaped = hex(*high)? << 4 | hex(*low)?;
        if wanted(escaped) {
            decoded.push(escaped);
        } else {
            decoded.extend([b'%', *high, *low]);
        }
        rest = after;
    }
    String::from_utf8(decoded).map_err(|_| PercentError::Utf8)
}

fn hex(digit: u8) -> Result<u8, PercentError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(PercentError::Escape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(decode("a%20b%2Fc%C3%A9+").as_deref(), Ok("a b/cé+"));
        assert_eq!(decode_path("a%20b/%2Fc%2f").as_deref(), Ok("a b/%2Fc%2f"));
        assert_eq!(decode_query("a+b%2Bc").as_deref(), Ok("a b+c"));
    }

    #[test]
    fn broken_text_is_refused() {
        for broken in ["%", "%2", "a%zz", "%%20", "%+1"] {
            assert_eq!(decode(broken), Err(PercentError::Escape), "{broken}");
        }
        assert_eq!(decode("%ff"), Err(PercentError::Utf8));
    }
}
