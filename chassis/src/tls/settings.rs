//! The settings of TLS, the same for every process.

use std::{collections::BTreeSet, path::PathBuf};

use super::{
    client::{ClientFiles, ClientTls},
    identity::Pair,
    itself::Itself,
    names::Name,
    server::{ServerFiles, ServerTls},
};
use crate::settings::ConfigErrors;

/// A flag, and the file that it names, if it names one.
pub type Flag = (&'static str, Option<PathBuf>);

/// Flags of listeners, with an environment variable each.
#[derive(Debug, Clone, clap::Args)]
pub struct TlsSettings {
    /// The certificate (PEM) that listeners have, with those that lead from it to its authority; absent: they speak no TLS. It is read again
    /// when it changes, as all files of certificates are
    #[arg(long, env = "TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The key of --tls-cert (PEM)
    #[arg(long, env = "TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The authorities (PEM) of clients' certificates: nobody is let in without one. Not for the admin listener
    #[arg(long, env = "TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Whom clients' certificates have to be for: subject alternative names, of DNS, URIs or IP, with commas between them [default: anybody whom
    /// --tls-client-ca has given one]
    #[arg(long, env = "TLS_CLIENT_SAN", value_name = "NAMES", value_delimiter = ',')]
    pub tls_client_san: Vec<String>,
    /// The certificate of the admin listener, instead of --tls-cert
    #[arg(long, env = "ADMIN_TLS_CERT", value_name = "FILE")]
    pub admin_tls_cert: Option<PathBuf>,
    /// The key of --admin-tls-cert
    #[arg(long, env = "ADMIN_TLS_KEY", value_name = "FILE")]
    pub admin_tls_key: Option<PathBuf>,
    /// As --tls-client-ca, for the admin listener
    #[arg(long, env = "ADMIN_TLS_CLIENT_CA", value_name = "FILE")]
    pub admin_tls_client_ca: Option<PathBuf>,
    /// As --tls-client-san, for the admin listener
    #[arg(long, env = "ADMIN_TLS_CLIENT_SAN", value_name = "NAMES", value_delimiter = ',')]
    pub admin_tls_client_san: Vec<String>,
}

/// TLS of the listeners of a process; by default they have none.
#[derive(Debug, Clone, Default)]
pub struct TlsConfig {
    /// Those for callers.
    pub public: ServerTls,
    /// The operator's.
    pub admin: ServerTls,
}

impl TlsSettings {
    /// How the process asks its own admin listener; `None`: without TLS.
    #[must_use]
    pub fn itself(&self) -> Option<Itself> {
        let (cert, key) = match (&self.admin_tls_cert, &self.admin_tls_key) {
            (None, None) => (("--tls-cert", self.tls_cert.clone()?), ("--tls-key", self.tls_key.clone()?)),
            (cert, key) => (("--admin-tls-cert", cert.clone()?), ("--admin-tls-key", key.clone()?)),
        };
        let identity = self.admin_tls_client_ca.is_some().then_some(Pair { cert, key });
        Some(Itself { identity })
    }

    /// The settings, or `None` after errors were noted. Must be called inside of a tokio runtime, which then looks at the files again and
    /// again.
    pub fn check(self, errors: &mut ConfigErrors) -> Option<TlsConfig> {
        let before = errors.count();
        let pair = Pair::of(("--tls-cert", self.tls_cert), ("--tls-key", self.tls_key), errors);
        let admin_pair = Pair::of(
            ("--admin-tls-cert", self.admin_tls_cert),
            ("--admin-tls-key", self.admin_tls_key),
            errors,
        );
        let files = Group {
            pair: pair.clone(),
            ca: ("--tls-client-ca", self.tls_client_ca),
            listed: ("--tls-client-san", self.tls_client_san),
        };
        let admin_files = Group {
            pair: admin_pair.or(pair),
            ca: ("--admin-tls-client-ca", self.admin_tls_client_ca),
            listed: ("--admin-tls-client-san", self.admin_tls_client_san),
        };
        // With a half of a pair there is an error already.
        let is_whole = errors.count() == before;
        let public = files.check("public", is_whole, errors);
        let admin = admin_files.check("admin", is_whole, errors);
        (errors.count() == before).then(|| Some(TlsConfig { public: public?, admin: admin? }))?
    }
}

/// The flags of one kind of listeners.
struct Group {
    pair: Option<Pair>,
    ca: (&'static str, Option<PathBuf>),
    listed: (&'static str, Vec<String>),
}

impl Group {
    fn check(self, purpose: &'static str, is_whole: bool, errors: &mut ConfigErrors) -> Option<ServerTls> {
        let (ca_flag, ca) = self.ca;
        let (listed_flag, names) = self.listed;
        let ca = ca.map(|path| (ca_flag, path));
        // Taken for no list, an empty one would let in everybody whom the authority knows.
        errors.require(
            names.iter().all(|name| !name.trim().is_empty()),
            listed_flag,
            format!("has an empty name: without the setting any certificate of {ca_flag} is let in"),
        );
        let given = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        let name = |text: &str| text.parse::<Name>().map_err(|error| errors.note(listed_flag, error)).ok();
        let listed: BTreeSet<Name> = given.filter_map(name).collect();
        errors.require(
            names.is_empty() || ca.is_some(),
            listed_flag,
            format!("says whom certificates have to be for, and not whose they are: set {ca_flag}"),
        );
        match self.pair {
            Some(identity) => {
                ServerTls::start(purpose, ServerFiles { identity, client_ca: ca, listed }, errors)
            }
            None => {
                let is_alone = ca.is_none() || !is_whole;
                errors.require(
                    is_alone,
                    ca_flag,
                    "is for a listener that speaks TLS: set --tls-cert and --tls-key",
                );
                Some(ServerTls::default())
            }
        }
    }
}

/// Flags of calls to services, with an environment variable each.
#[derive(Debug, Clone, clap::Args)]
pub struct UpstreamTlsSettings {
    /// The certificates (PEM) of the authorities that `https` URLs of services trust, instead of those that browsers trust
    #[arg(long, env = "UPSTREAM_CA", value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,
    /// The certificate (PEM) that services are shown
    #[arg(long, env = "UPSTREAM_CERT", value_name = "FILE")]
    pub upstream_cert: Option<PathBuf>,
    /// The key of --upstream-cert (PEM)
    #[arg(long, env = "UPSTREAM_KEY", value_name = "FILE")]
    pub upstream_key: Option<PathBuf>,
}

impl UpstreamTlsSettings {
    /// The settings, or `None` after errors were noted. Must be called inside of a tokio runtime.
    pub fn check(self, errors: &mut ConfigErrors) -> Option<ClientTls> {
        let identity = [("--upstream-cert", self.upstream_cert), ("--upstream-key", self.upstream_key)];
        client_tls("upstream", ("--upstream-ca", self.upstream_ca), identity, errors)
    }
}

/// TLS towards others, by a flag for their authority, and two for the certificate that they are shown and its key. Must be called inside of a
/// tokio runtime where any of them has a value. `None` after errors were noted.
pub fn client_tls(
    purpose: &'static str,
    (ca_flag, ca): Flag,
    [cert, key]: [Flag; 2],
    errors: &mut ConfigErrors,
) -> Option<ClientTls> {
    let before = errors.count();
    let identity = Pair::of(cert, key, errors);
    let ca = ca.map(|path| (ca_flag, path));
    let tls = ClientTls::start(purpose, ClientFiles { ca, identity }, errors);
    tls.filter(|_| errors.count() == before)
}
