//! What secures an edge: certificates, of its own and of the service behind it, and the keys of an issuer of tokens.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};
use world::{Api, Certificates, Issuer, Program, claims};

use crate::process::own_folder;

/// Seconds for which the token is valid: longer than any run.
const VALID: i64 = 86_400;
/// What the token is for.
const SCOPES: &str = "orders:read orders:write";

/// Certificates of `localhost`, and a token of a user.
pub(crate) struct Secured {
    pub(crate) certificates: Certificates,
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
        let certificates = Certificates::made_by(Program::at(&own_folder()?.join("ordermesh"))).await?;
        let issuer = Issuer::start().await?;
        let token = issuer.token("first", &claims("alice", SCOPES, VALID)).await?;
        let url = issuer.jwks_url();
        let (base, _) = url.rsplit_once('/').context("a URL")?;
        let jwks = Api::new(base)?.get("/jwks.json").await?.text;
        Ok(Self { certificates, token, jwks, issuer })
    }

    /// What connects to whoever shows a certificate of the authority.
    ///
    /// # Errors
    /// The file is gone.
    pub(crate) fn connector(&self) -> Result<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.certificates.file("ca.crt"))?)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// What the service behind the edge shows.
    ///
    /// # Errors
    /// The files are gone.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor> {
        let certificate = CertificateDer::from_pem_file(self.certificates.file("orders.crt"))?;
        let key = PrivateKeyDer::from_pem_file(self.certificates.file("orders.key"))?;
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
