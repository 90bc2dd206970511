//! What secures an edge: a certificate of its own, which the service behind it has as well, and the keys of an issuer of tokens.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Result;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};
use tonic::transport::Identity;
use world::{Issuer, claims};

/// Seconds for which the token is valid: longer than any run.
const VALID: i64 = 86_400;
/// What the token is for.
const SCOPES: &str = "orders:read orders:write";

/// A certificate of `localhost`, and a token of a user.
pub(crate) struct Secured {
    folder: TempDir,
    /// Of the user `alice`, by ES256.
    pub(crate) token: String,
    /// The public keys, as a JSON Web Key Set.
    pub(crate) jwks: String,
    pub(crate) issuer: Issuer,
}

impl Secured {
    /// Makes them.
    ///
    /// # Errors
    /// The issuer does not start.
    pub(crate) async fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
        fs::write(folder.path().join("tls.crt"), cert.pem())?;
        fs::write(folder.path().join("tls.key"), signing_key.serialize_pem())?;
        let issuer = Issuer::start().await?;
        let token = issuer.token("first", &claims("alice", SCOPES, VALID)).await?;
        let jwks = reqwest::get(issuer.jwks_url()).await?.error_for_status()?.text().await?;
        Ok(Self { folder, token, jwks, issuer })
    }

    /// The file of the certificate, in PEM.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    /// The file of its key, in PEM.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("tls.key")
    }

    /// What a server shows that has both.
    ///
    /// # Errors
    /// The files are gone.
    pub(crate) fn identity(&self) -> Result<Identity> {
        Ok(Identity::from_pem(fs::read(self.certificate())?, fs::read(self.key())?))
    }

    /// What connects to whoever shows the certificate.
    ///
    /// # Errors
    /// The file is gone.
    pub(crate) fn connector(&self) -> Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.certificate())?)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}
