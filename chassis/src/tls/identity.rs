//! A certificate with its key.

use std::{path::PathBuf, sync::Arc};

use tokio_rustls::rustls::{crypto::ring, sign::CertifiedKey};

use super::{
    follow::{Contents, File, Flaw},
    names::{self, Described, Role, Unacceptable},
    pem,
};
use crate::settings::ConfigErrors;

/// The files of a certificate, with those that lead from it to its authority, and of its key.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) cert: File,
    pub(super) key: File,
}

/// A certificate with its key, and what is in it.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) described: Described,
}

impl Pair {
    /// Both files, or none; `None` after an error was noted, too.
    pub(super) fn of(
        (cert_flag, cert): (&'static str, Option<PathBuf>),
        (key_flag, key): (&'static str, Option<PathBuf>),
        errors: &mut ConfigErrors,
    ) -> Option<Self> {
        match (cert, key) {
            (Some(cert), Some(key)) => Some(Self { cert: (cert_flag, cert), key: (key_flag, key) }),
            (Some(_), None) => {
                errors.note(key_flag, format!("is missing: {cert_flag} has no use without its key"));
                None
            }
            (None, Some(_)) => {
                errors.note(cert_flag, format!("is missing: {key_flag} has no use without its certificate"));
                None
            }
            (None, None) => None,
        }
    }

    pub(super) fn files(&self) -> [File; 2] {
        [self.cert.clone(), self.key.clone()]
    }

    /// The identity, or `None` after errors were noted.
    pub(super) fn make(&self, contents: &Contents, errors: &mut ConfigErrors) -> Option<Identity> {
        let (cert_flag, key_flag) = (self.cert.0, self.key.0);
        let chain = contents.of(cert_flag, errors).map(pem::certificates);
        let chain = chain.and_then(|chain| chain.map_err(|error| errors.note(cert_flag, error)).ok());
        let key = contents.of(key_flag, errors).map(pem::key);
        let key = key.and_then(|key| key.map_err(|error| errors.note(key_flag, error)).ok());
        let (chain, key) = (chain?, key?);
        let described = Described::of(chain.first()?).map_err(|error| errors.note(cert_flag, error)).ok()?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
            errors.note(key_flag, format!("is not the key of the certificate of {cert_flag}: {error}"));
        });
        Some(Identity { key: Arc::new(certified.ok()?), described })
    }

    /// What keeps everybody, or many, from accepting it at this moment, in seconds since the Unix epoch.
    pub(super) fn flaw(&self, identity: &Identity, role: Role, now: i64) -> Option<Flaw> {
        let certificate = identity.key.cert.first()?;
        let Unacceptable { reason, is_lasting } = names::unacceptable(certificate, role, now)?;
        let (flags, file) = ([self.cert.0, self.key.0], self.cert.1.clone());
        Some(Flaw { flags, file, subject: names::subject(certificate), reason, is_lasting })
    }
}
