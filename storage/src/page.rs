//! Page tokens: where a list goes on, sealed so that a client can neither read meaning into one nor use it for another query.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Bytes of the authentication code that a token carries: a guess succeeds once in 2^128.
const TAG: usize = 16;

/// The default and the largest size of a page (AIP-158: a larger request is cut, not refused).
pub const DEFAULT_SIZE: u64 = 50;
/// See [`DEFAULT_SIZE`].
pub const LARGEST_SIZE: u64 = 1_000;

/// The size of a page that a request asks for; `None` when it is negative.
#[must_use]
pub fn size(requested: i32) -> Option<u64> {
    match u64::try_from(requested).ok()? {
        0 => Some(DEFAULT_SIZE),
        size => Some(size.min(LARGEST_SIZE)),
    }
}

/// Seals and opens page tokens. Every process of a service must have the same key.
#[derive(Clone)]
pub struct PageTokens {
    keyed: Hmac<Sha256>,
}

/// The token was not made with this key for this query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the page token was not made for this query")]
pub struct InvalidToken;

impl PageTokens {
    /// Tokens under this key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        // HMAC takes keys of any length: an error cannot happen, and a fixed key would only refuse foreign tokens less well.
        let keyed = Hmac::new_from_slice(&key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        Self { keyed }
    }

    /// The token that continues `query` after `cursor`.
    #[must_use]
    pub fn seal(&self, query: &[u8], cursor: &[u8]) -> String {
        let tag = self.tag(query, cursor).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&tag[..TAG], cursor].concat())
    }

    /// The cursor in a token that was made for the same query.
    ///
    /// # Errors
    /// When it was not, or when it was altered.
    pub fn open(&self, query: &[u8], token: &str) -> Result<Vec<u8>, InvalidToken> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken)?;
        let (tag, cursor) = bytes.split_at_checked(TAG).ok_or(InvalidToken)?;
        self.tag(query, cursor).verify_truncated_left(tag).map_err(|_| InvalidToken)?;
        Ok(cursor.to_vec())
    }

    fn tag(&self, query: &[u8], cursor: &[u8]) -> Hmac<Sha256> {
        let mut keyed = self.keyed.clone();
        // The length keeps bytes from moving between query and cursor.
        keyed.update(&(query.len() as u64).to_be_bytes());
        keyed.update(query);
        keyed.update(cursor);
        keyed
    }
}

impl fmt::Debug for PageTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageTokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_query_only() {
        let tokens = PageTokens::new([7; 32]);
        let token = tokens.seal(b"user=alice", b"cursor");
        assert_eq!(tokens.open(b"user=alice", &token), Ok(b"cursor".to_vec()));
        assert_eq!(tokens.open(b"user=bob", &token), Err(InvalidToken));
        assert_eq!(tokens.open(b"user=alicec", &token), Err(InvalidToken));
        assert_eq!(PageTokens::new([8; 32]).open(b"user=alice", &token), Err(InvalidToken));
    }

    #[test]
    fn an_altered_token_does_not_open() {
        let tokens = PageTokens::new([7; 32]);
        let token = tokens.seal(b"q", b"cursor");
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).expect("ASCII stays ASCII");
            assert_eq!(tokens.open(b"q", &altered), Err(InvalidToken), "{altered}");
        }
        for junk in ["", "A", "====", "é", &"A".repeat(20)] {
            assert_eq!(tokens.open(b"q", junk), Err(InvalidToken), "{junk}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!([size(-1), size(0), size(7), size(5_000)], [None, Some(50), Some(7), Some(1_000)]);
    }
}
