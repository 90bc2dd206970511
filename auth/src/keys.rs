//! A set of public keys (JWKS, RFC 7517), read: those of them that can verify the signature of a token.

use std::{collections::HashMap, fmt, sync::Arc};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse},
};

/// A public key.
#[derive(Clone)]
pub(crate) struct Key {
    /// What verifies with it.
    pub(crate) decoding: DecodingKey,
    family: AlgorithmFamily,
    /// The only algorithm that it is for, when it says so.
    only: Option<Algorithm>,
}

impl Key {
    fn of(jwk: &Jwk) -> Option<Self> {
        // A secret has no place in a set that everybody reads.
        let family = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa,
            AlgorithmParameters::EllipticCurve(_) => AlgorithmFamily::Ec,
            AlgorithmParameters::OctetKeyPair(_) => AlgorithmFamily::Ed,
            _ => return None,
        };
        if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
            return None;
        }
        let only = match jwk.common.key_algorithm {
            None => None,
            // One for something else than signatures that are known here.
            Some(named) => Some(Algorithm::try_from(named).ok()?),
        };
        Some(Self { decoding: DecodingKey::from_jwk(jwk).ok()?, family, only })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.family == algorithm.family() && self.only.is_none_or(|only| only == algorithm)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("only", &self.only).finish_non_exhaustive()
    }
}

/// The keys of a set.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    by_id: HashMap<String, Arc<Key>>,
    nameless: Vec<Arc<Key>>,
    /// What was read, to distinguish sets.
    set: Option<JwkSet>,
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set
    }
}

impl Keys {
    /// The keys of a document, without those that verify nothing here.
    ///
    /// # Errors
    /// When it is no JWKS.
    pub(crate) fn read(document: &[u8]) -> Result<Self, serde_json::Error> {
        let set: JwkSet = serde_json::from_slice(document)?;
        let (mut by_id, mut nameless) = (HashMap::new(), Vec::new());
        for jwk in &set.keys {
            let Some(key) = Key::of(jwk).map(Arc::new) else { continue };
            match &jwk.common.key_id {
                Some(id) => drop(by_id.insert(id.clone(), key)),
                None => nameless.push(key),
            }
        }
        Ok(Self { by_id, nameless, set: Some(set) })
    }

    /// The key with this id for an algorithm. Without an id it has to be clear which key is meant (RFC 7515, section 4.1.4).
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Arc<Key>> {
        match id {
            Some(id) => self.by_id.get(id).filter(|key| key.is_for(algorithm)),
            None => {
                let mut keys = self.by_id.values().chain(&self.nameless).filter(|key| key.is_for(algorithm));
                keys.next().filter(|_| keys.next().is_none())
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len() + self.nameless.len()
    }
}
