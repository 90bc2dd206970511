//! Whom a certificate is for, and until when.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr};

use x509_parser::{certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate};

use crate::status::clip;

/// A subject alternative name (RFC 5280, section 4.2.1.6) of the kinds that clients are listed by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// In lower case.
    Dns(String),
    /// As it is.
    Uri(String),
    Ip(IpAddr),
}

/// How names are written by openssl, and not in certificates.
const KINDS: [&str; 7] = ["dns", "uri", "ip", "ip address", "email", "rid", "dirname"];

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        match text.split_once(':') {
            Some((kind, rest)) if KINDS.contains(&kind.to_ascii_lowercase().as_str()) => Err(format!(
                "{text:?} has a kind before it, and no certificate has a name like that: write {rest:?}"
            )),
            Some(parts) if is_uri(text, parts) => Ok(Self::Uri(text.to_owned())),
            None if is_dns(text) => Ok(Self::Dns(text.to_ascii_lowercase())),
            _ => Err(format!(
                "{text:?} is no name of DNS, no URI and no address of IP: each is listed as certificates have it, such as client.example, \
                 spiffe://shop/client or 10.0.0.7, without `*`, a port or a dot at the end"
            )),
        }
    }
}

/// Whether it has a scheme (RFC 3986, section 3.1), and more behind it than a port.
fn is_uri(text: &str, (scheme, rest): (&str, &str)) -> bool {
    let is_clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
    let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let begins = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    is_clean && is_scheme && begins && !rest.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether it has labels with dots between them, of which the last is no number: that would be an address.
fn is_dns(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_clean = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        is_clean && (1..=63).contains(&label.len())
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
            Self::Ip(address) => fmt::Display::fmt(address, f),
        }
    }
}

/// What is looked at in a certificate.
#[derive(Debug, Clone)]
pub(super) struct Described {
    /// Its subject alternative names of DNS, of URIs and of IP.
    pub(super) names: BTreeSet<Name>,
    /// The last moment at which it is valid, in seconds since the Unix epoch.
    pub(super) not_after: i64,
}

impl Described {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn of(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = parse_x509_certificate(der).map_err(|error| error.to_string())?;
        let names = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(Name::Dns(name.to_ascii_lowercase())),
            GeneralName::URI(uri) => Some(Name::Uri((*uri).to_owned())),
            GeneralName::IPAddress(bytes) => address(bytes).map(Name::Ip),
            _ => None,
        });
        Ok(Self { names: names.collect(), not_after: certificate.validity().not_after.timestamp() })
    }
}

/// What a certificate is shown as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

/// How much later than now a certificate may begin, in seconds: the clock may be wrong rather than the certificate.
const LEEWAY: i64 = 86_400;

/// What keeps everybody, or all who decide by webpki or OpenSSL, from accepting a certificate.
#[derive(Debug)]
pub(super) struct Unacceptable {
    pub(super) reason: String,
    /// Whether neither time nor another client changes it.
    pub(super) is_lasting: bool,
}

/// What keeps everybody, or all who decide by webpki or OpenSSL, from accepting a certificate in DER at this moment, in seconds since the Unix epoch.
pub(super) fn unacceptable(der: &[u8], role: Role, now: i64) -> Option<Unacceptable> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    if let Some((reason, any)) = unfit(&certificate, role) {
        return Some(Unacceptable { reason, is_lasting: !any });
    }
    let validity = certificate.validity();
    let reason = if validity.not_after.timestamp() < now {
        format!("it has expired ({})", validity.not_after)
    } else if validity.not_before.timestamp() > now.saturating_add(LEEWAY) {
        format!("it is not valid yet ({})", validity.not_before)
    } else {
        return None;
    };
    Some(Unacceptable { reason, is_lasting: false })
}

/// Why an extended key usage leaves out what a certificate is shown as, and whether it has anyExtendedKeyUsage. RFC 5280, section 4.2.1.12, leaves
/// it to whoever looks whether that is enough: it is for Go and Java, and neither for webpki, which looks here, nor for OpenSSL.
fn unfit(certificate: &X509Certificate<'_>, role: Role) -> Option<(String, bool)> {
    let usage = certificate.extended_key_usage().ok()??.value;
    let (is_for, name) = match role {
        Role::Server => (usage.server_auth, "serverAuth"),
        Role::Client => (usage.client_auth, "clientAuth"),
    };
    let any =
        if usage.any { ", for which anyExtendedKeyUsage does not stand with rustls and OpenSSL" } else { "" };
    (!is_for).then(|| (format!("its extended key usage has no {name}{any}"), usage.any))
}

/// What the log has of whom a certificate is for, in bytes.
const SUBJECT_BYTES: usize = 256;

/// Whom a certificate in DER is for, for a person: its distinguished name, and its subject alternative names. It may be a stranger's, so it is
/// escaped and cut.
pub(super) fn subject(der: &[u8]) -> String {
    let Ok((_, certificate)) = parse_x509_certificate(der) else { return "(unreadable)".to_owned() };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(readable);
    let own = Some(certificate.subject().to_string()).filter(|name| !name.is_empty());
    let all: Vec<String> = own.into_iter().chain(names).collect();
    let mut text = all.join(", ").escape_debug().to_string();
    clip(&mut text, SUBJECT_BYTES);
    text
}

fn readable(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    }
}

/// Four bytes or sixteen.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_one_kind_and_without_patterns() {
        assert_eq!("Gateway.Example".parse(), Ok(Name::Dns("gateway.example".to_owned())));
        assert_eq!("spiffe://shop/Gateway".parse(), Ok(Name::Uri("spiffe://shop/Gateway".to_owned())));
        assert_eq!("10.0.0.7".parse(), Ok(Name::Ip([10, 0, 0, 7].into())));
        assert_eq!("::1".parse::<Name>().map(|name| name.to_string()), Ok("::1".to_owned()));
        assert_eq!("urn:uuid:7".parse(), Ok(Name::Uri("urn:uuid:7".to_owned())));
        for text in ["", "*", "*.example", "spiffe://shop/*", "a b", "a/b", "caf\u{e9}.example"] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
        // None of these is ever in a certificate.
        for text in ["client.", ".client", "a..b", "10.0.0", "client:443", "[::1]", "x:", ":x", "1:x"] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
        for text in ["DNS:client", "dns:client", "URI:spiffe://shop/client", "IP:10.0.0.7"] {
            let error = text.parse::<Name>().expect_err("a kind");
            let (_, name) = text.split_once(':').expect("a kind");
            assert!(error.contains(&format!("write {name:?}")), "{error}");
        }
    }
}
