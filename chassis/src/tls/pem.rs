//! What files in PEM hold (RFC 7468).

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error, PemObject as _},
    },
};

/// A certificate and those that lead from it to its authority, or any number of authorities.
///
/// # Errors
/// There is none, or what there is cannot be read.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, Error> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("the file has no certificate in PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("the file has no certificate in PEM that can be read: {error}")),
    }
}

/// Authorities to be trusted.
///
/// # Errors
/// As [`certificates`].
pub(super) fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots
            .add(certificate)
            .map_err(|error| format!("the file has a certificate that cannot be read: {error}"))?;
    }
    Ok(roots)
}

/// A private key. Nothing of the file is in the error.
///
/// # Errors
/// There is none that can be read.
pub(super) fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        Error::NoItemsFound => {
            "the file has no private key in PEM (PKCS #8, PKCS #1 or SEC 1, without a password)".to_owned()
        }
        _ => "the private key cannot be read".to_owned(),
    })
}
