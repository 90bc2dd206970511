//! Page tokens: where a list goes on, sealed so that a client can neither read meaning into one nor use it for another query.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::status::{Fault, Reason};
use hmac::{Hmac, Mac as _};
use sea_orm::{ConnectionTrait as _, DbErr, Statement};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;

use storage::{Database, Failure};

use crate::request::Checks;

/// Bytes of the authentication code that a token carries: a guess succeeds once in 2^128.
const TAG: usize = 16;

/// The default and the largest size of a page (AIP-158: a larger request is cut, not refused).
const DEFAULT_SIZE: u64 = 50;
const LARGEST_SIZE: u64 = 1_000;

/// The size of the page that a request asks for.
pub fn size(requested: i32, checks: &mut Checks) -> u64 {
    checks.field("page_size", if requested < 0 { Err("must not be negative") } else { Ok(()) });
    match u64::try_from(requested) {
        Ok(size) if size > 0 => size.min(LARGEST_SIZE),
        _ => DEFAULT_SIZE,
    }
}

/// The table that holds the key of a service's page tokens, for its migrations: every process on one database has the same.
pub const KEY_TABLE: &str = "CREATE TABLE page_key (
    only_row {code} PRIMARY KEY CHECK (only_row = 1),
    secret {bytes} NOT NULL CHECK (length(secret) = 32)
) {strict}";

/// The key of page tokens.
pub type Key = SecretBox<[u8; 32]>;

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
    pub fn new(key: &Key) -> Self {
        // HMAC takes keys of any length: an error cannot happen, and a fixed key would only refuse foreign tokens less well.
        let keyed = Hmac::new_from_slice(key.expose_secret())
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        Self { keyed }
    }

    /// Tokens under the key in [`KEY_TABLE`]; the first process makes it. When it is there, nothing is written.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of(database: &Database) -> Result<Self, Failure> {
        let backend = database.backend();
        let read = move || Statement::from_string(backend, "SELECT secret FROM page_key");
        if let Some(row) = database.read().query_one_raw(read()).await? {
            return Ok(Self::new(&key(row.try_get_by_index(0)?)?));
        }
        let candidate: [u8; 32] = rand::random();
        let secret = database
            .transact(move |transaction| {
                Box::pin(async move {
                    let sql = "INSERT INTO page_key (only_row, secret) VALUES (1, $1) ON CONFLICT DO NOTHING";
                    let values = [candidate.to_vec().into()];
                    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
                    let row = transaction.query_one_raw(read()).await?;
                    row.ok_or_else(|| DbErr::RecordNotFound("the key of page tokens".to_owned()))?
                        .try_get_by_index::<Vec<u8>>(0)
                })
            })
            .await?;
        Ok(Self::new(&key(secret)?))
    }

    /// Where the list of `query` goes on by a token, as `cursor` reads it; `None` for the first page.
    ///
    /// # Errors
    /// INVALID_PAGE_TOKEN.
    pub fn resume<C>(
        &self,
        query: &[u8],
        token: &str,
        cursor: impl FnOnce(&[u8]) -> Option<C>,
    ) -> Result<Option<C>, Fault> {
        if token.is_empty() {
            return Ok(None);
        }
        let cursor = self.open(query, token).ok().and_then(|bytes| cursor(&bytes));
        let invalid =
            || Fault::of_field(Reason::InvalidPageToken, "page_token", "was not made for this query");
        cursor.map(Some).ok_or_else(invalid)
    }

    /// Cuts the rows to a page, and returns the token of the next one: empty when there is none. One row more than `size` was read, to
    /// know that. `cursor` writes the place behind a row.
    pub fn cut<R, B: AsRef<[u8]>>(
        &self,
        query: &[u8],
        size: u64,
        rows: &mut Vec<R>,
        cursor: impl FnOnce(&R) -> B,
    ) -> String {
        let more = rows.len() as u64 > size;
        rows.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        let last = rows.last().filter(|_| more);
        last.map(|last| self.seal(query, cursor(last).as_ref())).unwrap_or_default()
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

fn key(bytes: Vec<u8>) -> Result<Key, DbErr> {
    let key = <Box<[u8; 32]>>::try_from(bytes);
    key.map(Key::new).map_err(|_| DbErr::Type("the key of page tokens is not 32 bytes long".to_owned()))
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
        let tokens = PageTokens::new(&Key::new(Box::new([7; 32])));
        let token = tokens.seal(b"user=alice", b"cursor");
        assert_eq!(tokens.open(b"user=alice", &token), Ok(b"cursor".to_vec()));
        assert_eq!(tokens.open(b"user=bob", &token), Err(InvalidToken));
        assert_eq!(tokens.open(b"user=alicec", &token), Err(InvalidToken));
        assert_eq!(
            PageTokens::new(&Key::new(Box::new([8; 32]))).open(b"user=alice", &token),
            Err(InvalidToken)
        );
    }

    #[test]
    fn an_altered_token_does_not_open() {
        let tokens = PageTokens::new(&Key::new(Box::new([7; 32])));
        let token = tokens.seal(b"q", b"cursor");
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).expect("ASCII stays ASCII");
            assert_eq!(tokens.open(b"q", &altered), Err(InvalidToken), "{altered}");
        }
        for garbage in ["", "A", "====", "é", &"A".repeat(20)] {
            assert_eq!(tokens.open(b"q", garbage), Err(InvalidToken), "{garbage}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let size = |requested| {
            let mut checks = Checks::default();
            let size = size(requested, &mut checks);
            checks.finish().ok().map(|()| size)
        };
        assert_eq!([size(-1), size(0), size(7), size(5_000)], [None, Some(50), Some(7), Some(1_000)]);
    }
}
