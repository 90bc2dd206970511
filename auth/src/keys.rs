//! A set of public keys (JWKS, RFC 7517), read: those of them that can verify the signature of a token.

use std::{fmt, sync::Arc};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
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
        let (family, own) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (AlgorithmFamily::Rsa, None),
            AlgorithmParameters::EllipticCurve(key) => (AlgorithmFamily::Ec, Some(of_curve(&key.curve)?)),
            AlgorithmParameters::OctetKeyPair(_) => (AlgorithmFamily::Ed, Some(Algorithm::EdDSA)),
            _ => return None,
        };
        if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
            return None;
        }
        let only = match jwk.common.key_algorithm {
            None => own,
            // One for something else than signatures that are known here.
            Some(named) => Some(Algorithm::try_from(named).ok()?),
        };
        // What names the algorithm of another curve verifies nothing.
        if own.is_some() && own != only {
            return None;
        }
        Some(Self { decoding: DecodingKey::from_jwk(jwk).ok()?, family, only })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.family == algorithm.family() && self.only.is_none_or(|only| only == algorithm)
    }
}

/// The algorithm that goes with a curve (RFC 7518, section 3.4); `None` for one that nothing here verifies with.
const fn of_curve(curve: &EllipticCurve) -> Option<Algorithm> {
    match curve {
        EllipticCurve::P256 => Some(Algorithm::ES256),
        EllipticCurve::P384 => Some(Algorithm::ES384),
        _ => None,
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("only", &self.only).finish_non_exhaustive()
    }
}

/// The keys of a set, each with its id.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    keys: Vec<(Option<String>, Arc<Key>)>,
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
        let keys =
            set.keys.iter().filter_map(|jwk| Some((jwk.common.key_id.clone(), Arc::new(Key::of(jwk)?))));
        Ok(Self { keys: keys.collect(), set: Some(set) })
    }

    /// The key with this id for an algorithm: keys of different types may have the same id (RFC 7517, section 4.5). Without an id it has to be
    /// clear which key is meant (RFC 7515, section 4.1.4).
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Arc<Key>> {
        let mut keys = self.keys.iter().filter(|(_, key)| key.is_for(algorithm));
        let found = match id {
            Some(id) => keys.rfind(|(own, _)| own.as_deref() == Some(id)),
            None => keys.next().filter(|_| keys.next().is_none()),
        };
        found.map(|(_, key)| key)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}
