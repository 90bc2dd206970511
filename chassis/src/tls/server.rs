//! How listeners prove who they are, and whom they let in.

use std::{collections::BTreeSet, sync::Arc};

use tokio_rustls::rustls::{
    ServerConfig, crypto::ring, server::NoServerSessionStorage, sign::SingleCertAndKey,
};

use super::{
    clients::Clients,
    follow::{Contents, File, Flaw, Followed, Recipe},
    identity::{Identity, Pair},
    names::{Name, Role},
    pem,
};
use crate::settings::ConfigErrors;

/// What is spoken on a listener's connections, by the names of ALPN (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2 and HTTP/1.1.
    Http,
    /// HTTP/2.
    Grpc,
    /// HTTP/1.1.
    Http1,
}

impl Protocols {
    const ALL: [Self; 3] = [Self::Http, Self::Grpc, Self::Http1];

    fn names(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http => &[b"h2", b"http/1.1"],
            Self::Grpc => &[b"h2"],
            Self::Http1 => &[b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// TLS of listeners; by default they have none. Cloning it is cheap.
#[derive(Debug, Clone, Default)]
pub struct ServerTls(Option<Arc<Followed<Server>>>);

/// What listeners have now.
#[derive(Debug)]
pub(super) struct Server {
    identity: Identity,
    /// By [`Protocols`].
    configs: [Arc<ServerConfig>; Protocols::ALL.len()],
}

/// The files behind it.
#[derive(Debug, Clone)]
pub(super) struct ServerFiles {
    pub(super) identity: Pair,
    /// The authorities of clients; `None`: clients have no certificate.
    pub(super) client_ca: Option<File>,
    /// Whom certificates of clients have to be for; empty: anybody.
    pub(super) listed: BTreeSet<Name>,
}

impl ServerTls {
    /// As these files say. Must be called inside of a tokio runtime. `None` after errors were noted.
    pub(super) fn start(
        purpose: &'static str,
        files: ServerFiles,
        errors: &mut ConfigErrors,
    ) -> Option<Self> {
        Followed::start(purpose, files, errors).map(|followed| Self(Some(followed)))
    }

    /// Whether connections have TLS.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What it has now, if connections have TLS.
    pub(super) fn current(&self) -> Option<Arc<Server>> {
        self.0.as_ref().map(|followed| followed.current())
    }
}

impl Server {
    pub(super) fn config(&self, protocols: Protocols) -> Arc<ServerConfig> {
        Arc::clone(&self.configs[protocols as usize])
    }
}

impl Recipe for ServerFiles {
    type Made = Server;

    fn files(&self) -> Vec<File> {
        self.identity.files().into_iter().chain(self.client_ca.clone()).collect()
    }

    fn make(&self, contents: &Contents, errors: &mut ConfigErrors) -> Option<Server> {
        let identity = self.identity.make(contents, errors);
        let authorities = self.client_ca.as_ref().map(|(flag, _)| {
            let authorities = pem::authorities(contents.of(flag, errors)?);
            authorities.map_err(|error| errors.note(flag, error)).ok()
        });
        let identity = identity?;
        let clients = match authorities {
            None => None,
            Some(authorities) => {
                let own = identity.key.cert.first()?.clone();
                let clients = Clients::new(authorities?, self.listed.clone(), own);
                Some(Arc::new(clients.map_err(|error| errors.note(self.identity.cert.0, error)).ok()?))
            }
        };
        let config =
            config(&identity, clients).map_err(|error| errors.note(self.identity.cert.0, error)).ok()?;
        let configs = Protocols::ALL.map(|protocols| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.names();
            Arc::new(config)
        });
        Some(Server { identity, configs })
    }

    fn expiry(made: &Server) -> Option<i64> {
        Some(made.identity.described.not_after)
    }

    fn flaw(&self, made: &Server, now: i64) -> Option<Flaw> {
        self.identity.flaw(&made.identity, Role::Server, now)
    }
}

fn config(
    identity: &Identity,
    clients: Option<Arc<Clients>>,
) -> Result<ServerConfig, tokio_rustls::rustls::Error> {
    // Named: other crates of the process may have others compiled in.
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let resumes = clients.is_none();
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))));
    if !resumes {
        // A session that is resumed has the client's certificate of before, and nobody looks whether it has expired since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}
