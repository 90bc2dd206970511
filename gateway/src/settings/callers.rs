//! Settings that are lists: bounds by method, and networks.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use chassis::settings::ConfigErrors;
use ipnet::IpNet;

/// Entries `package.Service/Method=NUMBER`; those that are none are noted.
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
            Ok(number) => drop(bounds.insert(method.trim().to_owned(), number)),
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
