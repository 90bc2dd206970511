//! A token becomes a caller: its form, its signature and its claims, checked in this order.

use std::{collections::BTreeSet, error::Error, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chassis::{
    clock::{Clock, Micros},
    readiness::Part,
};
use http::{HeaderMap, header};
use jsonwebtoken::{Algorithm, Validation, decode, errors::ErrorKind};
use metrics::{counter, describe_counter};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    caller::Caller,
    fetch::Source,
    jwks::Jwks,
    refusal::{Check, Refusal},
    settings::IssuerConfig,
    verified::{Digest, Tokens},
};

/// The longest token that is read, in bytes: more than a head of a request may have beside it.
const LONGEST: usize = 8 << 10;
/// Bytes of a subject or a token id at most (OpenID Connect Core, section 2, has 255 characters of ASCII for a subject).
const NAME: usize = 255;
/// How far the clock of the issuer may be ahead. That it is behind costs its tokens as much of their time.
const AHEAD: Micros = 30 * 1_000_000;
/// Signatures that were checked: a token that is remembered costs none.
const CHECKS: &str = "auth_signature_checks_total";
/// The latest moment that can be represented, in seconds since the Unix epoch.
const LATEST: u64 = (i64::MAX / 1_000_000) as u64;

/// Verifies the tokens of an issuer. Cloning it is cheap, and shares its keys.
#[derive(Debug, Clone)]
pub struct Verifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: IssuerConfig,
    jwks: Jwks,
    verified: Tokens,
    clock: Arc<dyn Clock>,
}

/// Why there is no verifier.
#[derive(Debug, thiserror::Error)]
#[error("the keys of the issuer cannot be read over TLS")]
pub struct VerifierError(#[source] Box<dyn Error + Send + Sync>);

/// The header of a token (RFC 7515, section 4.1), as far as it chooses how the token is verified.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

impl Verifier {
    /// Verifies the tokens of this issuer, and reads its keys from now on. Must be called inside of a tokio runtime, which then reads them.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: IssuerConfig, clock: Arc<dyn Clock>) -> Result<Self, VerifierError> {
        let source = Source::new(config.keys.clone(), config.tls.clone()).map_err(VerifierError)?;
        let jwks = Jwks::watch(source, config.max_age);
        describe_counter!(CHECKS, "signatures of tokens that were checked");
        counter!(CHECKS).increment(0);
        Ok(Self(Arc::new(Inner { config, jwks, verified: Tokens::default(), clock })))
    }

    /// The part `issuer` of readiness: without keys in force nobody is let in.
    #[must_use]
    pub fn part(&self) -> Part {
        let this = self.clone();
        Part::known("issuer", move || this.0.jwks.state())
    }

    /// Who sends a request with these headers.
    ///
    /// # Errors
    /// The check that failed.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let token = bearer(headers).ok_or(Refusal::Token(Check::Present))?;
        self.verify(token).await
    }

    async fn verify(&self, token: &str) -> Result<Arc<Caller>, Refusal> {
        let Inner { jwks, verified, clock, .. } = &*self.0;
        if token.len() > LONGEST {
            return Err(Check::Form.into());
        }
        let digest: Digest = Sha256::digest(token).into();
        let known = jwks.generation().and_then(|generation| verified.get(&digest, generation));
        let caller = match known {
            Some(caller) => caller,
            None => self.verify_anew(token, digest).await?,
        };
        if caller.expires <= clock.now() { Err(Check::Expiry.into()) } else { Ok(caller) }
    }

    async fn verify_anew(&self, token: &str, digest: Digest) -> Result<Arc<Caller>, Refusal> {
        let Inner { config, jwks, verified, clock } = &*self.0;
        let header = header(token).ok_or(Check::Form)?;
        let algorithm = header.alg.parse().map_err(|_| Check::Algorithm)?;
        if !config.algorithms.contains(&algorithm) {
            return Err(Check::Algorithm.into());
        }
        let (key, generation) = jwks.key(header.kid.as_deref(), algorithm).await?;
        counter!(CHECKS).increment(1);
        let claims = decode::<Value>(token, &key.decoding, &self.validation(algorithm));
        let claims = claims.map_err(|error| failed(error.kind()))?.claims;
        // The library takes a list with the issuer in it, too: it is one name (RFC 7519, section 4.1.1).
        if claims["iss"] != config.issuer.as_str() {
            return Err(Check::Claims.into());
        }
        let now = clock.now();
        if moment(&claims, "nbf")?.is_some_and(|begins| begins > now + AHEAD) {
            return Err(Check::NotBefore.into());
        }
        let caller = Arc::new(Caller {
            subject: name(&claims["sub"])?.ok_or(Check::Claims)?,
            scopes: scopes(&claims, &config.scope_claim),
            token_id: name(&claims["jti"])?,
            expires: moment(&claims, "exp")?.ok_or(Check::Claims)?,
        });
        // One that is over is verified each time: nobody has a use for it.
        if caller.expires > now {
            verified.put(digest, Arc::clone(&caller), generation);
        }
        Ok(caller)
    }

    /// What the library checks. Times are compared with our own clock.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let config = &self.0.config;
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&config.audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_exp = false;
        validation
    }
}

/// The token of `authorization: Bearer TOKEN` (RFC 6750, section 2.1). Two of them are none: it would not be clear who calls.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn header(token: &str) -> Option<Header> {
    let mut parts = token.split('.');
    let (header, _, _) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = URL_SAFE_NO_PAD.decode(header).ok().filter(|_| parts.next().is_none())?;
    serde_json::from_slice(&bytes).ok()
}

fn failed(error: &ErrorKind) -> Check {
    match error {
        ErrorKind::InvalidSignature => Check::Signature,
        ErrorKind::InvalidIssuer => Check::Issuer,
        ErrorKind::InvalidAudience => Check::Audience,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Check::Algorithm,
        ErrorKind::InvalidKeyFormat | ErrorKind::InvalidEcdsaKey | ErrorKind::InvalidRsaKey(_) => Check::Key,
        ErrorKind::InvalidToken | ErrorKind::Base64(_) => Check::Form,
        // Of a token whose signature is right.
        _ => Check::Claims,
    }
}

/// A name that is stored with what its bearer does, if there is one: not empty, not too long, and without U+0000, which no database stores.
fn name(claim: &Value) -> Result<Option<String>, Check> {
    match claim {
        Value::Null => Ok(None),
        Value::String(text) if (1..=NAME).contains(&text.len()) && !text.contains('\0') => {
            Ok(Some(text.clone()))
        }
        _ => Err(Check::Claims),
    }
}

/// A NumericDate (RFC 7519, section 2): seconds since the Unix epoch, which may have a fraction.
fn moment(claims: &Value, name: &str) -> Result<Option<Micros>, Check> {
    match &claims[name] {
        Value::Null => Ok(None),
        Value::Number(seconds) => {
            let seconds = seconds.as_f64().filter(|seconds| *seconds >= 0.0).ok_or(Check::Claims)?;
            Ok(Some((seconds.min(LATEST as f64) * 1e6) as Micros))
        }
        _ => Err(Check::Claims),
    }
}

/// Words with spaces between them (RFC 8693, section 4.2), or a list of words.
fn scopes(claims: &Value, claim: &str) -> BTreeSet<String> {
    let claim = if claim.starts_with('/') { claims.pointer(claim) } else { claims.get(claim) };
    match claim {
        Some(Value::String(words)) => {
            words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
        }
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => BTreeSet::new(),
    }
}
