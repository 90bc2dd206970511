//! A set of public keys (JWKS, RFC 7517), read: those of them that can verify the signature of a token.

use std::{fmt, sync::Arc};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// Characters of an id that is named in the log.
const NAMED: usize = 64;

/// A public key.
pub(crate) struct Key {
    id: Option<String>,
    /// What verifies with it.
    pub(crate) decoding: DecodingKey,
    family: AlgorithmFamily,
    /// The only algorithm that it is for, when it says so.
    only: Option<Algorithm>,
}

impl Key {
    /// A key of a set, where tokens have one of these algorithms.
    ///
    /// # Errors
    /// Why it verifies nothing here.
    fn of(member: &Value, allowed: &[Algorithm]) -> Result<Self, &'static str> {
        let jwk = Jwk::deserialize(member).map_err(|_| "a member of it has the wrong type")?;
        let (family, own) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (AlgorithmFamily::Rsa, None),
            AlgorithmParameters::EllipticCurve(key) => {
                let own = of_curve(&key.curve).ok_or("nothing here verifies with its curve")?;
                (AlgorithmFamily::Ec, Some(own))
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (AlgorithmFamily::Ed, Some(Algorithm::EdDSA))
            }
            AlgorithmParameters::OctetKey(_) => {
                return Err("it is a secret, which has no place in a set that everybody reads");
            }
            _ => return Err("its type or curve is not known, or a part of it is missing"),
        };
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return Err("it is not for signatures (use)");
        }
        if jwk.common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
            return Err("it is not for signatures (key_ops)");
        }
        let only = match &member["alg"] {
            Value::Null => own,
            named => {
                let named = named.as_str().and_then(algorithm);
                Some(named.ok_or("its algorithm signs no tokens here")?)
            }
        };
        // What names the algorithm of another curve, or of another type, verifies nothing.
        if own.is_some() && own != only || only.is_some_and(|only| only.family() != family) {
            return Err("its algorithm is not that of its type and curve");
        }
        let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| "its parts are not in base64url")?;
        if !is_key(&decoding, own) {
            return Err("its parts are no key");
        }
        let key = Self { id: jwk.common.key_id, decoding, family, only };
        let is_allowed = allowed.iter().any(|algorithm| key.is_for(*algorithm));
        is_allowed.then_some(key).ok_or("tokens of its algorithm are not let in")
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.family == algorithm.family() && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether this is the same key, read another time.
    fn is(&self, other: &Self) -> bool {
        let is_same = match (self.decoding.kind(), other.decoding.kind()) {
            (DecodingKeyKind::SecretOrDer(own), DecodingKeyKind::SecretOrDer(other)) => own == other,
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: other_n, e: other_e },
            ) => n == other_n && e == other_e,
            _ => false,
        };
        is_same && self.id == other.id && self.family == other.family && self.only == other.only
    }
}

/// The algorithm with this name. Its newer name of EdDSA with this curve (RFC 9864, section 2.2) is that of the same signatures.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { name.parse().ok() }
}

/// Whether what verifies takes it for a key, of the algorithm of its curve or, without one, of RSA. It would say so with each token only.
fn is_key(key: &DecodingKey, own: Option<Algorithm>) -> bool {
    let is_point = |algorithm: &'static dyn VerificationAlgorithm| {
        key.try_get_as_bytes().is_ok_and(|bytes| ParsedPublicKey::new(algorithm, bytes).is_ok())
    };
    match own {
        Some(Algorithm::ES256) => is_point(&ECDSA_P256_SHA256_FIXED),
        Some(Algorithm::ES384) => is_point(&ECDSA_P384_SHA384_FIXED),
        Some(_) => is_point(&ED25519),
        None => match key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                // Of other lengths the library verifies none.
                let unused = n.first().map_or(0, |first| first.leading_zeros() as usize);
                let key = RsaPublicKeyComponents { n, e };
                (2_048..=8_192).contains(&(8 * n.len() - unused))
                    && key.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).is_ok()
            }
            DecodingKeyKind::SecretOrDer(_) => false,
        },
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

/// How some editors begin a text in UTF-8.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The keys of a set.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    keys: Vec<Arc<Key>>,
    /// Those that verify nothing here, with the reasons.
    unusable: Vec<String>,
    /// What was read, to distinguish sets.
    set: Vec<Value>,
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set
    }
}

/// A JWKS. What is wrong with a key is wrong with no other (RFC 7517, section 5).
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Keys {
    /// The keys of a document that verify tokens of the algorithms that are `allowed`.
    ///
    /// # Errors
    /// When it is no JWKS.
    pub(crate) fn read(document: &[u8], allowed: &[Algorithm]) -> Result<Self, serde_json::Error> {
        let document = document.strip_prefix(BOM).unwrap_or(document);
        let Set { keys: set } = serde_json::from_slice(document)?;
        let (mut keys, mut unusable) = (Vec::new(), Vec::new());
        for (at, member) in set.iter().enumerate() {
            match Key::of(member, allowed) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(why) => {
                    let id = member["kid"].as_str();
                    let name: String = id.unwrap_or("without an id").chars().take(NAMED).collect();
                    unusable.push(format!("key {} ({name}): {why}", at + 1));
                }
            }
        }
        Ok(Self { keys, unusable, set })
    }

    /// The keys with this id for an algorithm: several may have the same id (RFC 7517, section 4.5), and any of them may be meant. Without an id
    /// it has to be clear which key is meant (RFC 7515, section 4.1.4).
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<Arc<Key>> {
        let keys = self.keys.iter().filter(|key| key.is_for(algorithm));
        let found: Vec<_> = keys.filter(|key| id.is_none() || key.id.as_deref() == id).cloned().collect();
        if id.is_none() && found.len() > 1 { Vec::new() } else { found }
    }

    /// Whether this key is among them.
    pub(crate) fn has(&self, key: &Key) -> bool {
        self.keys.iter().any(|own| own.is(key))
    }

    /// How many there are that verify something.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Those that verify nothing here, each with the reason.
    pub(crate) fn unusable(&self) -> &[String] {
        &self.unusable
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The keys of RFC 7517, appendix A.1.
    fn point() -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "kid": "good",
        })
    }

    fn with(changes: &Value) -> Value {
        let mut key = point();
        for (name, value) in changes.as_object().into_iter().flatten() {
            key[name] = value.clone();
        }
        key
    }

    fn read(keys: &[Value]) -> Keys {
        let document = json!({ "keys": keys }).to_string();
        Keys::read(document.as_bytes(), &[Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA])
            .expect("a set")
    }

    #[test]
    fn a_key_that_verifies_nothing_does_not_count_and_leaves_the_others() {
        // An odd number whose first bit is set.
        let short = format!("w{}E", "A".repeat(169));
        for (what, key) in [
            ("an unknown type", json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" })),
            ("no type", json!({ "kid": "bad" })),
            ("no object", json!("key")),
            ("no y", with(&json!({ "y": null }))),
            ("not on the curve", with(&json!({ "y": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4" }))),
            ("too short", with(&json!({ "x": "MKBC" }))),
            ("no base64url", with(&json!({ "x": "?" }))),
            ("for encryption", with(&json!({ "use": "enc" }))),
            ("for something else", with(&json!({ "use": "tls" }))),
            ("for other operations", with(&json!({ "key_ops": ["deriveKey"] }))),
            ("an id that is none", with(&json!({ "kid": 5 }))),
            ("an algorithm of another curve", with(&json!({ "alg": "ES384" }))),
            ("a point of another curve", with(&json!({ "crv": "P-384" }))),
            ("a secret", json!({ "kty": "oct", "k": "c2VjcmV0" })),
            ("RSA of 1,024 bits", json!({ "kty": "RSA", "n": short, "e": "AQAB" })),
            ("RSA without an exponent", json!({ "kty": "RSA", "n": "vw" })),
            ("RSA of nothing", json!({ "kty": "RSA", "n": "", "e": "" })),
            ("an octet key pair of nothing", json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" })),
            ("a curve for other things", json!({ "kty": "OKP", "crv": "X25519", "x": "A".repeat(43) })),
        ] {
            let alone = read(std::slice::from_ref(&key));
            assert_eq!((alone.len(), alone.unusable().len()), (0, 1), "{what}");
            let beside = read(&[key, point()]);
            assert_eq!((beside.len(), beside.unusable().len()), (1, 1), "{what}: {beside:?}");
            assert!(!beside.find(Some("good"), Algorithm::ES256).is_empty(), "{what}");
        }
        // RFC 8037, appendix A.2, with the name of RFC 9864.
        let edwards = json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        });
        for key in [with(&json!({ "use": "sig", "alg": "ES256", "key_ops": ["verify"] })), edwards] {
            let usable = read(&[key]);
            assert_eq!((usable.len(), usable.unusable().len()), (1, 0), "{usable:?}");
        }
    }
}
