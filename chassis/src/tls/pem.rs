//! What files in PEM hold (RFC 7468).

use std::{fs, path::Path};

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error, PemObject as _},
    },
};
use x509_parser::parse_x509_certificate;

use super::names::subject;
use crate::settings::ConfigErrors;

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
/// As [`certificates`], or some of them are no authorities: whoever has the key of one would be one all the same.
pub(super) fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = certificates(pem)?;
    check(&certificates)?;
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| format!("the file has a certificate that cannot be read: {error}"))?;
    }
    Ok(roots)
}

/// Whether all of them are authorities'.
fn check(certificates: &[CertificateDer<'_>]) -> Result<(), String> {
    let others: Result<Vec<_>, String> = certificates.iter().map(|der| no_authority(der)).collect();
    let others: Vec<String> = others?.into_iter().flatten().collect();
    if others.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the file has certificates that are no authority's (basicConstraints without CA:TRUE), of {}: name the authority that has signed \
             them",
        others.join("; ")
    ))
}

/// Notes an error when a file of authorities that somebody else reads has others in it. Whether it is there and can be read is theirs to say: it may
/// come later.
pub fn check_authorities(flag: &str, file: &Path, errors: &mut ConfigErrors) {
    let certificates = fs::read(file).ok().and_then(|pem| certificates(&pem).ok());
    if let Some(certificates) = certificates
        && let Err(error) = check(&certificates)
    {
        errors.note(flag, format!("{}: {error}", file.display()));
    }
}

/// The subject of a certificate that may sign no others (RFC 5280, section 4.2.1.9).
fn no_authority(der: &[u8]) -> Result<Option<String>, String> {
    let unreadable = |error: String| format!("the file has a certificate that cannot be read: {error}");
    let (_, certificate) = parse_x509_certificate(der).map_err(|error| unreadable(error.to_string()))?;
    let constraints = certificate.basic_constraints().map_err(|error| unreadable(error.to_string()))?;
    let is_authority = constraints.is_some_and(|constraints| constraints.value.ca);
    Ok((!is_authority).then(|| format!("[{}]", subject(der))))
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
