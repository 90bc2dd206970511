//! Which clients are let in: those with a certificate of an authority, for one of the names that are listed.

use std::{cell::RefCell, collections::BTreeSet, error::Error, fmt, future::Future, sync::Arc};

use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::names::{Described, Name, subject};

/// Looks at the certificates of clients.
#[derive(Debug)]
pub(super) struct Clients {
    /// Who signed it, whether it is valid now, and that it is for clients.
    webpki: Arc<dyn ClientCertVerifier>,
    /// One of these names has to be in it; none: any may be.
    listed: BTreeSet<Name>,
    /// The listener's own. Who has its key is the process itself, which asks whether it is healthy.
    own: CertificateDer<'static>,
}

/// A client whose certificate is good, and for nobody who is listed.
#[derive(Debug)]
pub(super) struct Unlisted;

impl fmt::Display for Unlisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no name of the certificate is listed")
    }
}

impl Error for Unlisted {}

tokio::task_local! {
    /// Whom the certificate is for that the handshake of this task has refused: the errors of rustls, by which alerts are chosen, have no room
    /// for it.
    static REFUSED: RefCell<Option<String>>;
}

/// What came of a handshake, and whom the certificate of its client is for if that was refused.
pub(super) async fn noting<F: Future>(handshake: F) -> (F::Output, Option<String>) {
    let noted = async {
        let outcome = handshake.await;
        (outcome, REFUSED.with(RefCell::take))
    };
    REFUSED.scope(RefCell::new(None), noted).await
}

impl Clients {
    /// # Errors
    /// There is no authority.
    pub(super) fn new(
        authorities: RootCertStore,
        listed: BTreeSet<Name>,
        own: CertificateDer<'static>,
    ) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build();
        Ok(Self { webpki: webpki.map_err(|error| error.to_string())?, listed, own })
    }

    fn verified(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if *end_entity == self.own {
            return Ok(ClientCertVerified::assertion());
        }
        let verified = self.webpki.verify_client_cert(end_entity, intermediates, now)?;
        if self.listed.is_empty() {
            return Ok(verified);
        }
        let described = Described::of(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        if described.names.is_disjoint(&self.listed) {
            return Err(CertificateError::Other(OtherError(Arc::new(Unlisted))).into());
        }
        Ok(verified)
    }
}

impl ClientCertVerifier for Clients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Browsers and others choose by it among the certificates that they have.
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.verified(end_entity, intermediates, now);
        if verified.is_err() {
            // Outside of a handshake nobody asks for it.
            let _nobody_asks = REFUSED.try_with(|refused| refused.replace(Some(subject(end_entity))));
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
