//! How a process asks its own admin listener whether it is well.

use std::sync::Arc;

use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::SingleCertAndKey,
};

use super::{follow::Contents, identity::Pair};
use crate::settings::ConfigErrors;

/// An admin listener with TLS, as its own process asks it.
#[derive(Debug, Clone)]
pub struct Itself {
    /// What the listener has, where it wants a certificate of its clients: it lets itself in.
    pub(super) identity: Option<Pair>,
}

impl Itself {
    /// # Errors
    /// When the listener's own certificate is needed and cannot be read.
    pub(crate) fn config(&self) -> anyhow::Result<ClientConfig> {
        let mut errors = ConfigErrors::default();
        let identity = self.identity.as_ref().map(|pair| {
            let made = pair.make(&Contents::read(&pair.files()), &mut errors);
            made.map(|identity| identity.key)
        });
        let identity = errors.or(identity.map_or(Some(None), |key| key.map(Some)))?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
        Ok(match identity {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        })
    }
}

/// Whoever listens there, as without TLS: nothing secret is sent, and the certificate in the file may be newer than the one in use.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
