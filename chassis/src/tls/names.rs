//! Whom a certificate is for, and until when.

use std::{collections::BTreeSet, fmt, str::FromStr};

use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// A subject alternative name (RFC 5280, section 4.2.1.6) of the kinds that clients are listed by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// In lower case.
    Dns(String),
    /// As it is.
    Uri(String),
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_uri = text.contains(':');
        let is_clean = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
        let is_dns = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if text.is_empty() || !is_clean || !(is_uri || is_dns) {
            return Err(format!(
                "{text:?} is no name of DNS and no URI; each name is listed as it is, without `*`"
            ));
        }
        Ok(if is_uri { Self::Uri(text.to_owned()) } else { Self::Dns(text.to_ascii_lowercase()) })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
        }
    }
}

/// What is looked at in a certificate.
#[derive(Debug, Clone)]
pub(super) struct Described {
    /// Its subject alternative names of DNS and URIs.
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
            _ => None,
        });
        Ok(Self { names: names.collect(), not_after: certificate.validity().not_after.timestamp() })
    }

    /// The names, for a person.
    pub(super) fn said(&self) -> String {
        self.names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_one_kind_and_without_patterns() {
        assert_eq!("Gateway.Example".parse(), Ok(Name::Dns("gateway.example".to_owned())));
        assert_eq!("spiffe://shop/Gateway".parse(), Ok(Name::Uri("spiffe://shop/Gateway".to_owned())));
        for text in ["", "*", "*.example", "spiffe://shop/*", "a b", "a/b", "caf\u{e9}.example"] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
