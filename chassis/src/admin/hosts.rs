//! Which names the admin listener is called by: a page whose own name leads to it must read and do nothing there.

use std::{collections::BTreeSet, sync::Arc};

use http::{HeaderMap, Uri, header};

use crate::{
    host::{called, is_owned_by_nobody},
    settings::ConfigErrors,
    status::{Fault, Reason},
};

/// Flags of every process that has an admin listener.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct HostSettings {
    /// Names with a dot, and commas between them, by which the admin listener is called without TLS; by addresses, as localhost and by names
    /// without a dot it always is
    #[arg(long, env = "ADMIN_HOSTS", value_name = "NAMES")]
    pub admin_hosts: Option<String>,
}

/// Names by which the admin listener is called, beside those that nobody can own.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Arc<BTreeSet<String>>);

impl HostSettings {
    /// The names, those that are none left out after errors were noted.
    pub fn check(self, errors: &mut ConfigErrors) -> Hosts {
        let mut names = BTreeSet::new();
        for name in self.admin_hosts.iter().flat_map(|names| names.split(',')).map(str::trim) {
            let is_of_name = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
            let plain = name.strip_suffix('.').unwrap_or(name);
            errors.require(
                !plain.is_empty() && plain.chars().all(is_of_name),
                "--admin-hosts",
                format!("{name:?} is no name of DNS: no scheme, no port, no `*`, and commas between names"),
            );
            names.insert(plain.to_ascii_lowercase());
        }
        Hosts(Arc::new(names))
    }
}

impl Hosts {
    /// Looks who a request is for.
    ///
    /// # Errors
    /// ORIGIN_NOT_ALLOWED for another name, and MALFORMED_REQUEST where it is not clear.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
        if headers.get_all(header::HOST).iter().count() > 1 {
            return Err(Fault::new(Reason::MalformedRequest, "a request has one Host"));
        }
        let name = called(uri, headers);
        if is_owned_by_nobody(&name) || self.0.contains(&name) {
            return Ok(());
        }
        let message = "the admin listener is not called by this name: call it by an address, as localhost or by a name without a dot, or list \
                       the name in --admin-hosts (ADMIN_HOSTS)";
        Err(Fault::new(Reason::OriginNotAllowed, message))
    }
}
