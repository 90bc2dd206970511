//! How a process proves who it is to those that it calls, and whom it believes.

use std::sync::Arc;

use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto::ring, sign::SingleCertAndKey};
use webpki_roots::TLS_SERVER_ROOTS;

use super::{
    follow::{Contents, File, Flaw, Followed, Recipe},
    identity::{Identity, Pair},
    names::Role,
    pem,
};
use crate::settings::ConfigErrors;

/// TLS towards others; by default they have certificates of the authorities that browsers trust, and want none. Cloning it is cheap.
#[derive(Debug, Clone, Default)]
pub struct ClientTls(Option<Arc<Followed<Client>>>);

/// What connections to others have now.
#[derive(Debug)]
pub(super) struct Client {
    config: Arc<ClientConfig>,
    /// The process's own certificate.
    identity: Option<Identity>,
}

/// The files behind it.
#[derive(Debug, Clone)]
pub(super) struct ClientFiles {
    /// The authorities that are trusted, instead of those that browsers trust.
    pub(super) ca: Option<File>,
    /// The process's own certificate.
    pub(super) identity: Option<Pair>,
}

impl ClientTls {
    /// As these files say. Must be called inside of a tokio runtime. `None` after errors were noted.
    pub(super) fn start(
        purpose: &'static str,
        files: ClientFiles,
        errors: &mut ConfigErrors,
    ) -> Option<Self> {
        if files.ca.is_none() && files.identity.is_none() {
            return Some(Self::default());
        }
        Followed::start(purpose, files, errors).map(|followed| Self(Some(followed)))
    }

    /// Trusts these authorities (PEM) and no others.
    ///
    /// # Errors
    /// There is none.
    pub fn trusting(pem: &[u8]) -> Result<Self, String> {
        let config = config(pem::authorities(pem)?, None).map_err(|error| error.to_string())?;
        Ok(Self(Some(Followed::fixed(Client { config: Arc::new(config), identity: None }))))
    }

    /// For the next connection; without protocols of ALPN.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        match &self.0 {
            Some(followed) => Ok(Arc::clone(&followed.current().config)),
            None => config(known(), None).map(Arc::new),
        }
    }
}

impl Recipe for ClientFiles {
    type Made = Client;

    fn files(&self) -> Vec<File> {
        let identity = self.identity.iter().flat_map(Pair::files);
        identity.chain(self.ca.clone()).collect()
    }

    fn make(&self, contents: &Contents, errors: &mut ConfigErrors) -> Option<Client> {
        let roots = match &self.ca {
            None => Some(known()),
            Some((flag, _)) => contents.of(flag, errors).and_then(|pem| {
                let roots = pem::authorities(pem);
                roots.map_err(|error| errors.note(flag, error)).ok()
            }),
        };
        let identity = self.identity.as_ref().map(|pair| pair.make(contents, errors));
        let (roots, identity) = (roots?, identity.map_or(Some(None), |made| made.map(Some))?);
        let config = config(roots, identity.clone());
        let config = config.map_err(|error| errors.note("TLS", error)).ok()?;
        Some(Client { config: Arc::new(config), identity })
    }

    fn expiry(made: &Client) -> Option<i64> {
        made.identity.as_ref().map(|identity| identity.described.not_after)
    }

    fn flaw(&self, made: &Client, now: i64) -> Option<Flaw> {
        self.identity.as_ref()?.flaw(made.identity.as_ref()?, Role::Client, now)
    }
}

/// The authorities that browsers trust. They come with the binary, as its image has none.
fn known() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.extend(TLS_SERVER_ROOTS.iter().cloned());
    roots
}

fn config(roots: RootCertStore, identity: Option<Identity>) -> Result<ClientConfig, rustls::Error> {
    // Named: other crates of the process may have others compiled in.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key))),
        None => builder.with_no_client_auth(),
    })
}
