//! Settings that are lists: bounds by method, networks, and names of headers.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use chassis::settings::ConfigErrors;
use http::{HeaderName, header};
use ipnet::IpNet;

/// Headers of one connection.
pub(crate) const HOPS: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Headers that say how a message travels, or what it is: each side has its own.
const OF_THE_MESSAGE: [HeaderName; 6] = [
    header::HOST,
    header::EXPECT,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    HeaderName::from_static("accept-encoding"),
];

/// Entries `package.Service/Method=NUMBER`; those that are none are noted, and a second one of a method: it is not clear which holds.
pub(super) fn by_method<N>(flag: &str, entries: &[String], errors: &mut ConfigErrors) -> BTreeMap<String, N>
where
    N: FromStr<Err: fmt::Display>,
{
    let mut bounds = BTreeMap::new();
    for entry in entries {
        let Some((method, number)) = entry.split_once('=').filter(|(method, _)| method.contains('/')) else {
            errors.note(flag, format!("{entry:?} is not of the form package.Service/Method=NUMBER"));
            continue;
        };
        match number.trim().parse() {
            Ok(number) => {
                let before = bounds.insert(method.trim().to_owned(), number);
                errors.require(before.is_none(), flag, format!("{} is there twice", method.trim()));
            }
            Err(error) => errors.note(flag, format!("{entry:?}: {error}")),
        }
    }
    bounds
}

/// Networks such as `10.0.0.0/8`, and single addresses; those that are none are noted.
pub(super) fn networks(flag: &str, entries: &[String], errors: &mut ConfigErrors) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for entry in entries.iter().map(|entry| entry.trim()) {
        let address = || entry.parse().ok().map(|address: IpAddr| IpNet::from(address));
        match entry.parse().ok().or_else(address) {
            Some(network) => networks.push(network),
            None => errors.note(flag, format!("{entry:?} is no network such as 10.0.0.0/8, and no address")),
        }
    }
    networks
}

/// Whether a header may travel on: it is of no connection, of no message, and not of gRPC itself.
pub(crate) fn travels(name: &HeaderName) -> bool {
    !name.as_str().starts_with("grpc-") && !HOPS.contains(name) && !OF_THE_MESSAGE.contains(name)
}

/// Names of headers that can travel on; those that cannot are noted.
pub(super) fn headers(flag: &str, entries: &[String], errors: &mut ConfigErrors) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for entry in entries.iter().map(|entry| entry.trim()) {
        let is_text = |name: &HeaderName| !name.as_str().ends_with("-bin");
        match entry.parse().ok().filter(|name| travels(name) && is_text(name)) {
            Some(name) => names.push(name),
            None => errors.note(flag, format!("{entry:?} is no header that travels on")),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_one_bound() {
        let bounds = |entries: &[&str]| {
            let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
            let mut errors = ConfigErrors::default();
            let bounds = by_method::<u32>("--method-limit", &entries, &mut errors);
            errors.or(Some(bounds)).map_err(|errors| errors.to_string())
        };
        let two = bounds(&["a.S/M=1", "a.S/N=2"]).expect("no errors");
        assert_eq!((two.get("a.S/M"), two.get("a.S/N")), (Some(&1), Some(&2)));
        for twice in [["a.S/M=1", "a.S/M=2"], ["a.S/M=1", " a.S/M =1"]] {
            let text = bounds(&twice).expect_err("an error");
            assert!(text.contains("--method-limit") && text.contains("a.S/M is there twice"), "{text}");
        }
    }
}
