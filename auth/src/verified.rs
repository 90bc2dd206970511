//! Tokens that were verified, by their digests, so that a call with one of them costs no second check of its signature.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{Mutex, PoisonError},
};

/// Tokens of each half. Two halves of these take some 20 MB at most, with long scopes.
const HALF: usize = 8_192;

/// SHA-256 of a token.
pub(crate) type Digest = [u8; 32];

/// A half: what tokens were verified as, and with the keys of which generation.
type Half<T> = HashMap<Digest, (T, u64)>;

/// A bounded memory of tokens: the newer half, and the older one, which is forgotten when the newer is full.
pub(crate) struct Tokens<T>(Mutex<[Half<T>; 2]>);

impl<T> Default for Tokens<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Tokens<T> {
    /// What a token was verified as with the keys of this generation.
    pub(crate) fn get(&self, digest: &Digest, generation: u64) -> Option<T> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [newer, older] = &mut *halves;
        if let Some((known, of)) = newer.get(digest) {
            return (*of == generation).then(|| known.clone());
        }
        let (known, of) = older.remove(digest).filter(|(_, of)| *of == generation)?;
        put(&mut halves, *digest, (known.clone(), of));
        Some(known)
    }

    /// Remembers a token.
    pub(crate) fn put(&self, digest: Digest, known: T, generation: u64) {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        put(&mut halves, digest, (known, generation));
    }
}

fn put<T>(halves: &mut [Half<T>; 2], digest: Digest, known: (T, u64)) {
    let [newer, older] = halves;
    if newer.len() >= HALF {
        *older = mem::take(newer);
    }
    newer.insert(digest, known);
}

impl<T> fmt::Debug for Tokens<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: usize) -> Digest {
        let mut digest = Digest::default();
        digest[..8].copy_from_slice(&n.to_be_bytes());
        digest
    }

    #[test]
    fn tokens_in_use_stay_and_others_go() {
        let tokens = Tokens::default();
        for n in 0..10 * HALF {
            tokens.put(digest(n), n, 1);
            assert!(tokens.get(&digest(0), 1).is_some(), "used all the time, after {n}");
        }
        assert!(tokens.get(&digest(1), 1).is_none(), "not used since");
        let halves = tokens.0.lock().expect("nobody panicked");
        assert!(halves.iter().map(HashMap::len).sum::<usize>() <= 2 * HALF);
    }

    #[test]
    fn other_keys_verify_again() {
        let tokens = Tokens::default();
        tokens.put(digest(1), "alice", 1);
        assert!(tokens.get(&digest(1), 1).is_some() && tokens.get(&digest(1), 2).is_none());
    }
}
