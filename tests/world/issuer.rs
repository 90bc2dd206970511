//! An issuer of tokens as a process of its own, made of libraries that share no code with ours.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{Api, Certificates, Process, Program};

/// The claim `iss` of its tokens, unless a test says otherwise.
pub const ISSUER: &str = "https://issuer.test";
/// The claim `aud` of its tokens, unless a test says otherwise.
pub const AUDIENCE: &str = "ordermesh";

/// A running issuer, which publishes the keys that a test says.
#[derive(Debug)]
pub struct Issuer {
    api: Api,
    /// Where it listens for HTTPS.
    secured: Option<SocketAddr>,
    _process: Process,
}

impl Issuer {
    /// Starts an issuer with a key `first` for ES256, which is published.
    ///
    /// # Errors
    /// When the Python packages of scripts/requirements.txt are missing.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same, with the certificate `gateway` of this authority at [`Issuer::jwks_url_over_tls`].
    ///
    /// # Errors
    /// As [`Issuer::start`].
    pub async fn start_with_tls(certificates: &Certificates) -> Result<Self> {
        Self::start_with(&["gateway.crt", "gateway.key"].map(|name| certificates.file(name))).await
    }

    async fn start_with(identity: &[String]) -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = here.join("../../target/tools/python/bin/python");
        ensure!(python.is_file(), "{} is missing: run scripts/setup", python.display());
        let script = here.join("issuer.py").display().to_string();
        let mut process = Program::at(&python).args([script]).args(identity).start()?;
        let api = Api::new(format!("http://{}", process.address("issuer").await?))?;
        let secured = if identity.is_empty() { None } else { Some(process.address("issuer-tls").await?) };
        let issuer = Self { api, secured, _process: process };
        issuer.make("first", "ES256").await?;
        issuer.publish(&["first"]).await?;
        Ok(issuer)
    }

    /// Where its keys are.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks.json", self.api.base())
    }

    /// The same over HTTPS.
    ///
    /// # Errors
    /// When it was started without.
    pub fn jwks_url_over_tls(&self) -> Result<String> {
        let address = self.secured.context("an issuer with TLS")?;
        Ok(format!("https://localhost:{}/jwks.json", address.port()))
    }

    /// The environment of a process that believes it.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![("AUTH_ISSUER", ISSUER.to_owned()), ("AUTH_JWKS", self.jwks_url())]
    }

    /// Makes a key, which is not published yet, for ES256, ES512, RS256 or EdDSA.
    ///
    /// # Errors
    /// When the issuer does not answer.
    pub async fn make(&self, kid: &str, alg: &str) -> Result<()> {
        self.order(json!({ "do": "key", "kid": kid, "alg": alg })).await.map(drop)
    }

    /// Publishes these keys and no others.
    ///
    /// # Errors
    /// When the issuer does not answer.
    pub async fn publish(&self, kids: &[&str]) -> Result<()> {
        self.order(json!({ "do": "publish", "kids": kids })).await.map(drop)
    }

    /// Answers no more requests for its keys, or does again.
    ///
    /// # Errors
    /// When the issuer does not answer.
    pub async fn away(&self, away: bool) -> Result<()> {
        self.order(json!({ "do": "away", "away": away })).await.map(drop)
    }

    /// How often its keys were asked for.
    ///
    /// # Errors
    /// When the issuer does not answer.
    pub async fn fetches(&self) -> Result<u64> {
        self.order(json!({ "do": "fetches" })).await?["fetches"].as_u64().context("a number")
    }

    /// A token with these claims, signed by this key.
    ///
    /// # Errors
    /// When the issuer does not answer.
    pub async fn token(&self, kid: &str, claims: &Value) -> Result<String> {
        self.minted(json!({ "do": "token", "kid": kid, "claims": claims })).await
    }

    /// The same, with these members in its header; null removes one.
    ///
    /// # Errors
    /// When the issuer does not answer.
    pub async fn token_with(&self, kid: &str, claims: &Value, header: &Value) -> Result<String> {
        self.minted(json!({ "do": "token", "kid": kid, "claims": claims, "header": header })).await
    }

    /// A token with these claims and the algorithm `none`.
    ///
    /// # Errors
    /// When the issuer does not answer.
    pub async fn unsigned(&self, claims: &Value) -> Result<String> {
        self.minted(json!({ "do": "unsigned", "claims": claims })).await
    }

    /// A token with these claims, signed by HS256 with the public key as the secret.
    ///
    /// # Errors
    /// When the issuer does not answer.
    pub async fn confused(&self, kid: &str, claims: &Value) -> Result<String> {
        self.minted(json!({ "do": "confused", "kid": kid, "claims": claims })).await
    }

    async fn minted(&self, order: Value) -> Result<String> {
        let minted = self.order(order).await?;
        Ok(minted["token"].as_str().with_context(|| minted.to_string())?.to_owned())
    }

    async fn order(&self, order: Value) -> Result<Value> {
        let answer = self.api.post("/", &order).await?;
        ensure!(answer.status == 200, "{order}: {}", answer.text);
        Ok(answer.body)
    }
}

/// Claims of a user for these scopes, valid from an hour ago for `seconds` from now.
#[must_use]
pub fn claims(user: &str, scope: &str, seconds: i64) -> Value {
    let now = now();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": user, "scope": scope,
        "iat": now - 3_600, "nbf": now - 3_600, "exp": now + seconds,
    })
}

/// The present moment, in seconds since the Unix epoch.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the issuer has a clock of its own")]
pub fn now() -> i64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}
