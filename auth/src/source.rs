//! Where an issuer publishes its keys, as a flag says it.

use std::{net::IpAddr, path::PathBuf};

use chassis::settings::ConfigErrors;
use http::Uri;

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// At this URL, of the scheme `http` or `https`.
    Url(Uri),
    /// In this file.
    File(PathBuf),
    /// Here, as a JWKS: they never change.
    Here(String),
}

/// What `--auth-jwks` says, or `None` after errors were noted.
pub(crate) fn source(text: &str, errors: &mut ConfigErrors) -> Option<KeySource> {
    let flag = "--auth-jwks";
    if !text.contains("://") {
        let path = PathBuf::from(text);
        return match std::fs::metadata(&path) {
            Ok(_) => Some(KeySource::File(path)),
            Err(error) => {
                errors.note(flag, format!("cannot read {text}: {error}"));
                None
            }
        };
    }
    let url = text.parse::<Uri>().ok().filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
    // A password would be in the log.
    let url = url.filter(|url| url.authority().is_some_and(|authority| !authority.as_str().contains('@')));
    let Some(url) = url else {
        errors.note(flag, "is no file, and no URL of the form https://HOST/PATH");
        return None;
    };
    errors.require(
        url.scheme_str() == Some("https") || is_own_machine(&url),
        flag,
        "is a URL of another machine without TLS: whoever is on the way there could let in anybody, with keys of their own. Use https \
         (--auth-jwks-ca for an authority of your own), or a file",
    );
    Some(KeySource::Url(url))
}

/// Whether a URL is of this machine, whatever names lead where.
fn is_own_machine(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}
