//! A signed JWT (RFC 7519, in the compact form of RFC 7515): what it is signed with, and what it claims once a key is known to have signed it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation, decode, errors::ErrorKind};
use serde::Deserialize;
use serde_json::Value;

use crate::{keys::Key, refusal::Check};

/// The header of a token (RFC 7515, section 4.1), as far as it chooses a key. The library refuses extensions that have to be understood (`crit`),
/// and claims that are not in base64url (`b64`).
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

/// A token, before anything in it can be believed.
pub(crate) struct Signed<'t> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    token: &'t str,
}

impl<'t> Signed<'t> {
    /// Reads the header of a token.
    ///
    /// # Errors
    /// It is no signed JWT, or signed with something that is not known.
    pub(crate) fn read(token: &'t str) -> Result<Self, Check> {
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Check::Form);
        };
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| Check::Form)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| Check::Form)?;
        let algorithm = header.alg.parse().map_err(|_| Check::Algorithm)?;
        Ok(Self { algorithm, key_id: header.kid, token })
    }

    /// What it claims, if this key has signed it. Times are compared with our own clock, and not by the library.
    ///
    /// # Errors
    /// Another issuer or audience; or one of the claims that every token has cannot be read.
    pub(crate) fn claims(
        &self,
        key: &Key,
        issuer: &str,
        audiences: &[String],
    ) -> Result<Option<Value>, Check> {
        let mut validation = Validation::new(self.algorithm);
        validation.set_issuer(&[issuer]);
        validation.set_audience(audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_exp = false;
        let claims = match decode::<Value>(self.token, &key.decoding, &validation) {
            Ok(token) => token.claims,
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => return Ok(None),
            Err(error) => return Err(failed(error.kind())),
        };
        // The library takes a list with the issuer in it, too: it is one name (RFC 7519, section 4.1.1).
        if claims["iss"] == issuer { Ok(Some(claims)) } else { Err(Check::Claims) }
    }
}

fn failed(error: &ErrorKind) -> Check {
    match error {
        ErrorKind::InvalidIssuer => Check::Issuer,
        ErrorKind::InvalidAudience => Check::Audience,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Check::Algorithm,
        ErrorKind::InvalidKeyFormat | ErrorKind::InvalidEcdsaKey | ErrorKind::InvalidRsaKey(_) => Check::Key,
        ErrorKind::InvalidToken | ErrorKind::Base64(_) => Check::Form,
        // Of a token whose signature is right, or whose header has a member of a wrong type.
        _ => Check::Claims,
    }
}
