//! An issuer for development: a key in a folder, its JWKS, and tokens that are signed by it.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use chassis::{clock::Micros, tls::ClientTls};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, encode,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use serde_json::json;

use crate::{settings::IssuerConfig, source::KeySource};

/// The file of the key: PKCS#8 in DER.
const FILE: &str = "development-key.p8";
/// The claim `iss` of its tokens.
const ISSUER: &str = "ordermesh-development";
/// The claim `aud` of its tokens.
const AUDIENCE: &str = "ordermesh";

/// A key that signs tokens for development.
pub struct DevelopmentKey {
    signing: EncodingKey,
    jwk: Jwk,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The file holds something else.
    #[error("{} holds no key for ES256", .0.display())]
    Content(PathBuf),
    /// Others than its owner may read or change it.
    #[error("{} is open to others, who could sign tokens of anybody: chmod 600", .0.display())]
    Open(PathBuf),
}

impl DevelopmentKey {
    /// The key in this folder. It is made, readable for its owner only, when there is none.
    ///
    /// # Errors
    /// When it can neither be read nor made, or others may read it.
    pub fn in_folder(folder: &Path) -> Result<Self, KeyError> {
        let path = folder.join(FILE);
        let of_file = |error| KeyError::File(path.clone(), error);
        fs::create_dir_all(folder).map_err(of_file)?;
        let der = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&path).map_err(of_file)?;
                fs::read(&path)
            }
            read => read,
        };
        let der = der.map_err(of_file)?;
        if fs::metadata(&path).map_err(of_file)?.permissions().mode() & 0o077 != 0 {
            return Err(KeyError::Open(path));
        }
        Self::of(&der).ok_or(KeyError::Content(path))
    }

    fn of(der: &[u8]) -> Option<Self> {
        let signing = EncodingKey::from_ec_der(der);
        let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::ES256).ok()?;
        jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).ok()?);
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Some(Self { signing, jwk })
    }

    /// Its public part, as a JWKS.
    #[must_use]
    pub fn jwks(&self) -> String {
        json!(JwkSet { keys: vec![self.jwk.clone()] }).to_string()
    }

    /// The issuer of its tokens, for who verifies them.
    #[must_use]
    pub fn issuer(&self) -> IssuerConfig {
        IssuerConfig {
            issuer: ISSUER.to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
            keys: KeySource::Here(self.jwks()),
            algorithms: vec![Algorithm::ES256],
            scope_claim: "scope".to_owned(),
            max_age: Duration::from_secs(24 * 3_600),
            tls: ClientTls::default(),
        }
    }

    /// A token of a user, for these scopes with spaces between them, from `now` for so long.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(
        &self,
        user: &str,
        scope: &str,
        now: Micros,
        lasts: Duration,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let header = Header { kid: self.jwk.common.key_id.clone(), ..Header::new(Algorithm::ES256) };
        let issued = now / 1_000_000;
        let expires = issued.saturating_add_unsigned(lasts.as_secs());
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": user, "scope": scope, "iat": issued, "exp": expires,
        });
        encode(&header, &claims, &self.signing)
    }
}

/// Makes a key, unless another process has just made one.
fn make(path: &Path) -> io::Result<()> {
    let unmade = |_| io::Error::other("no key can be made");
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(unmade)?;
    // Whole or not at all, whoever reads it meanwhile.
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(key.as_ref())?;
    file.sync_all()?;
    let made = match fs::hard_link(&part, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    fs::remove_file(&part)?;
    made
}
