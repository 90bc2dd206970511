//! The address of a client behind proxies, as far as they are trusted: what anybody else writes into a header counts for nothing.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

/// What most proxies write: addresses, the nearest last.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies that are trusted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies(Vec<IpNet>);

impl Proxies {
    pub(crate) const fn new(trusted: Vec<IpNet>) -> Self {
        Self(trusted)
    }

    /// The address of the client whose request `peer` has sent: the nearest one that is no trusted proxy.
    ///
    /// A proxy that knows one of the two headers hands on the other one as its client has written it. So where they name different
    /// clients nobody is believed, and the proxy counts.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.trusts(peer) {
            return peer;
        }
        let standard = headers.contains_key(header::FORWARDED).then(|| {
            let named = elements(headers, &header::FORWARDED, ',').into_iter().map(|hop| named(&hop));
            self.nearest(peer, named.collect())
        });
        let usual = headers.contains_key(X_FORWARDED_FOR).then(|| {
            let named = elements(headers, &X_FORWARDED_FOR, ',').into_iter().map(|hop| address(hop.trim()));
            self.nearest(peer, named.collect())
        });
        match (standard, usual) {
            (Some(one), Some(other)) if one != other => peer,
            (one, other) => one.or(other).unwrap_or(peer),
        }
    }

    /// Whether this is one of them.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The last of these, the nearest last, that is no proxy; behind something that is no address nobody can be seen.
    fn nearest(&self, peer: IpAddr, hops: Vec<Option<IpAddr>>) -> IpAddr {
        let mut nearest = peer;
        for hop in hops.into_iter().rev() {
            match hop {
                Some(address) if self.trusts(nearest) => nearest = address,
                _ => break,
            }
        }
        nearest
    }
}

/// The elements of all lines of a header, in their order.
fn elements(headers: &HeaderMap, name: &HeaderName, separator: char) -> Vec<String> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?"));
    split(&lines.collect::<Vec<_>>().join(","), separator)
}

/// The parts between separators that do not stand within quotes (RFC 9110, section 5.6.4).
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().into_iter().for_each(|part| part.push(character));
    }
    parts
}

/// The address in the parameter `for` of an element of `Forwarded` (RFC 7239, section 4).
fn named(element: &str) -> Option<IpAddr> {
    let parameters = split(element, ';');
    let mut parameters = parameters.iter().filter_map(|parameter| parameter.trim().split_once('='));
    let (_, node) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    let quoted = node.strip_prefix('"').and_then(|node| node.strip_suffix('"'));
    address(quoted.unwrap_or(node))
}

/// An address, which may have a port; that of IPv6 may be in brackets.
fn address(node: &str) -> Option<IpAddr> {
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    let with_port = || node.parse().ok().map(|socket: SocketAddr| socket.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8:a::/48"].map(|network| network.parse().expect("a network"));
        let headers = lines
            .iter()
            .map(|(name, line)| (HeaderName::from_static(name), line.parse().expect("a value of a header")));
        let proxies = Proxies::new(trusted.to_vec());
        proxies.client(peer.parse().expect("an address"), &headers.collect()).to_string()
    }

    #[test]
    fn the_nearest_that_is_no_proxy_counts() {
        let name = "x-forwarded-for";
        for (peer, line, client) in [
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("10.1.1.1", "198.51.100.7", "198.51.100.7"),
            ("::ffff:10.1.1.1", "198.51.100.7:4711", "198.51.100.7"),
            ("10.1.1.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("10.1.1.1", "203.0.113.9, 198.51.100.7,10.2.2.2", "198.51.100.7"),
            ("10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
            ("10.1.1.1", "203.0.113.9, unknown", "10.1.1.1"),
            ("10.1.1.1", "203.0.113.9, unknown, 10.2.2.2", "10.2.2.2"),
            ("10.1.1.1", "", "10.1.1.1"),
            ("2001:db8:a::1", "2001:db8:b::7", "2001:db8:b::7"),
            ("2001:db8:a::1", "[2001:db8:b::7]:80", "2001:db8:b::7"),
        ] {
            assert_eq!(of(peer, &[(name, line)]), client, "{peer} {line}");
        }
        assert_eq!(of("10.1.1.1", &[(name, "203.0.113.9"), (name, "198.51.100.7")]), "198.51.100.7");
        assert_eq!(of("10.1.1.1", &[]), "10.1.1.1");
    }

    #[test]
    fn so_it_does_in_the_words_of_the_standard() {
        for (line, client) in [
            ("for=198.51.100.7;proto=https", "198.51.100.7"),
            ("proto=https; FOR=\"198.51.100.7:80\"", "198.51.100.7"),
            ("for=203.0.113.9, for=\"[2001:db8:b::7]:80\";by=10.2.2.2", "2001:db8:b::7"),
            ("for=203.0.113.9, for=10.2.2.2", "203.0.113.9"),
            ("for=203.0.113.9, for=_hidden", "10.1.1.1"),
            ("for=203.0.113.9, by=10.2.2.2", "10.1.1.1"),
            // An open quote takes all that comes behind it.
            ("for=\"203.0.113.9, for=198.51.100.7", "10.1.1.1"),
            ("for=\"a\\\", for=203.0.113.9\", for=198.51.100.7", "198.51.100.7"),
        ] {
            assert_eq!(of("10.1.1.1", &[("forwarded", line)]), client, "{line}");
        }
    }

    #[test]
    fn headers_that_contradict_each_other_are_not_believed() {
        let both = |other| of("10.1.1.1", &[("forwarded", "for=198.51.100.7"), ("x-forwarded-for", other)]);
        assert_eq!(both("203.0.113.9, 198.51.100.7"), "198.51.100.7");
        assert_eq!(both("198.51.100.8"), "10.1.1.1");
    }
}
