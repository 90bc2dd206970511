//! A token becomes a caller: its form, its signature and its claims, checked in this order.

use std::{collections::BTreeSet, error::Error, net::IpAddr, sync::Arc};

use chassis::{
    clock::{Clock, Micros},
    readiness::Part,
};
use http::{HeaderMap, header};
use metrics::{counter, describe_counter};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    caller::Caller,
    fetch::Source,
    jwks::{Candidates, Jwks},
    keys::Key,
    refusal::{Check, Refusal},
    settings::IssuerConfig,
    token::Signed,
    validity::Validity,
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
    jwks: Arc<Jwks>,
    verified: Tokens<(Arc<Caller>, Validity)>,
    clock: Arc<dyn Clock>,
}

/// Why there is no verifier.
#[derive(Debug, thiserror::Error)]
#[error("the keys of the issuer cannot be read over TLS")]
pub struct VerifierError(#[source] Box<dyn Error + Send + Sync>);

impl Verifier {
    /// Verifies the tokens of this issuer, and reads its keys from now on. Must be called inside of a tokio runtime, which then reads them.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: IssuerConfig, clock: Arc<dyn Clock>) -> Result<Self, VerifierError> {
        let source = Source::new(config.keys.clone(), config.tls.clone()).map_err(VerifierError)?;
        let jwks = Arc::new(Jwks::watch(source, config.algorithms.clone(), config.max_age));
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
        Ok(self.admit(headers, None).await?.0)
    }

    /// The same, and until when their token lets them in. Those from one address, if it is known, leave something of what all share to others.
    ///
    /// # Errors
    /// The check that failed.
    pub async fn admit(
        &self,
        headers: &HeaderMap,
        from: Option<IpAddr>,
    ) -> Result<(Arc<Caller>, Validity), Refusal> {
        let token = bearer(headers).ok_or(Refusal::Token(Check::Present))?;
        let Inner { jwks, verified, clock, .. } = &*self.0;
        if token.len() > LONGEST {
            return Err(Check::Form.into());
        }
        let digest: Digest = Sha256::digest(token).into();
        let known = jwks.generation().and_then(|generation| verified.get(&digest, generation));
        let admitted = match known {
            Some(admitted) => admitted,
            None => self.verify_anew(token, digest, from).await?,
        };
        if admitted.0.expires <= clock.now() { Err(Check::Expiry.into()) } else { Ok(admitted) }
    }

    async fn verify_anew(
        &self,
        token: &str,
        digest: Digest,
        from: Option<IpAddr>,
    ) -> Result<(Arc<Caller>, Validity), Refusal> {
        let Inner { config, jwks, verified, clock } = &*self.0;
        let signed = Signed::read(token)?;
        if !config.algorithms.contains(&signed.algorithm) {
            return Err(Check::Algorithm.into());
        }
        let Found { key, claims, generation } = self.signer(&signed, from).await?;
        let now = clock.now();
        if moment(&claims, "nbf")?.is_some_and(|begins| begins > now.saturating_add(AHEAD)) {
            return Err(Check::NotBefore.into());
        }
        let expires = moment(&claims, "exp")?.ok_or(Check::Claims)?;
        let caller = Arc::new(Caller {
            subject: name(&claims["sub"])?.ok_or(Check::Claims)?.into(),
            scopes: scopes(&claims, &config.scope_claim),
            token_id: name(&claims["jti"])?,
            expires,
        });
        let admitted = (caller, Validity::new(expires, key, Arc::clone(jwks), Arc::clone(clock)));
        // One that is over is verified each time: nobody has a use for it.
        if expires > now {
            verified.put(digest, admitted.clone(), generation);
        }
        Ok(admitted)
    }

    /// The key that has signed a token. When it is none of those that are known, there may be another one by now, under the same id, too.
    async fn signer(&self, signed: &Signed<'_>, from: Option<IpAddr>) -> Result<Found, Refusal> {
        let (id, jwks) = (signed.key_id.as_deref(), &self.0.jwks);
        let known = jwks.candidates(id, signed.algorithm);
        if let Some(found) = self.signer_among(&known, signed)? {
            return Ok(found);
        }
        let looked = jwks.look(&known, id, signed.algorithm, from).await?;
        if (looked.generation != known.generation || known.keys.is_empty())
            && let Some(found) = self.signer_among(&looked, signed)?
        {
            return Ok(found);
        }
        // While keys are in force one that is not among them is the caller's fault, whether the issuer can be asked or not.
        Err(match (jwks.generation(), looked.keys.is_empty()) {
            (None, _) => Refusal::NoKeys,
            (Some(_), true) => Check::Key.into(),
            (Some(_), false) => Check::Signature.into(),
        })
    }

    /// Whichever of these keys has signed a token.
    fn signer_among(&self, candidates: &Candidates, signed: &Signed<'_>) -> Result<Option<Found>, Check> {
        let IssuerConfig { issuer, audiences, .. } = &self.0.config;
        for key in &candidates.keys {
            counter!(CHECKS).increment(1);
            if let Some(claims) = signed.claims(key, issuer, audiences)? {
                return Ok(Some(Found { key: Arc::clone(key), claims, generation: candidates.generation }));
            }
        }
        Ok(None)
    }
}

/// The key that has signed a token, from a set of this generation, and what the token claims.
#[derive(Debug)]
struct Found {
    key: Arc<Key>,
    claims: Value,
    generation: u64,
}

/// The token of `authorization: Bearer TOKEN` (RFC 6750, section 2.1). Two of them are none: it would not be clear who calls.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next().filter(|_| lines.next().is_none())?;
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
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
