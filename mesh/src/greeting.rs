//! What `ordermesh up` says on standard output once it listens: what a user who has just started it wants to do next.

use std::{
    borrow::Cow,
    env,
    io::{self, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use crate::settings::{AuthMode, Settings};

/// What the lines depend on.
#[derive(Debug)]
pub(crate) struct Greeting {
    data_dir: PathBuf,
    has_tokens: bool,
    /// The certificate of the listeners, if they speak TLS.
    certificate: Option<PathBuf>,
    wants_certificates: bool,
}

impl Greeting {
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            data_dir: settings.databases.data_dir.clone(),
            has_tokens: matches!(settings.auth_mode, Some(AuthMode::Dev)),
            certificate: settings.tls.tls_cert.clone(),
            wants_certificates: settings.tls.tls_client_ca.is_some(),
        }
    }

    /// # Errors
    /// When standard output cannot be written to.
    pub(crate) fn print(&self, edge: SocketAddr) -> io::Result<()> {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        let (edge, tls, token) = (format!("{scheme}://{}", reached(edge)), self.tls(), self.token());
        let mut out = io::stdout().lock();
        writeln!(out, "documents: {edge}/swagger/index.html")?;
        writeln!(
            out,
            "try: curl -s{tls} {edge}/gateway/payments{token} -H 'content-type: application/json' -d '{{\"userId\":\"alice\"}}'"
        )?;
        out.flush()
    }

    /// What curl needs to believe the edge: the authority beside its certificate, where `ordermesh certs` writes it, or the certificate itself.
    fn tls(&self) -> String {
        let Some(certificate) = &self.certificate else { return String::new() };
        let beside = |name: &str| Some(certificate.with_file_name(name)).filter(|path| path.is_file());
        let authority = beside("ca.crt").unwrap_or_else(|| certificate.clone());
        let mut flags = format!(" --cacert {}", quoted(&authority));
        if self.wants_certificates
            && let (Some(own), Some(key)) = (beside("client.crt"), beside("client.key"))
        {
            flags.push_str(&format!(" --cert {} --key {}", quoted(&own), quoted(&key)));
        }
        flags
    }

    fn token(&self) -> String {
        if !self.has_tokens {
            return String::new();
        }
        // As it was called itself, which need not be in the PATH.
        let called = env::args_os().next().map_or_else(|| "ordermesh".into(), PathBuf::from);
        let (called, folder) = (quoted(&called), quoted(&self.data_dir));
        format!(" -H \"authorization: Bearer $({called} token --user alice --data-dir {folder})\"")
    }
}

/// Where a client on the same machine finds it.
fn reached(mut edge: SocketAddr) -> SocketAddr {
    if edge.ip().is_unspecified() {
        edge.set_ip(if edge.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    edge
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> Cow<'_, str> {
    let text = path.to_string_lossy();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''")).into()
}
