//! By which name a listener is called.
//!
//! A browser calls it for a page of any origin once the name of that origin leads to this machine (DNS rebinding), and then keeps no
//! answer from it: page and listener have one origin. Only the name differs.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header, uri::Authority};

/// The name that a request is for, in small letters, without a port and without a dot at its end; empty where it names nobody.
#[must_use]
pub fn called(uri: &Uri, headers: &HeaderMap) -> String {
    let plain = |authority: &Authority| {
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
    };
    if let Some(authority) = uri.authority() {
        return plain(authority);
    }
    let Some(host) = headers.get(header::HOST) else { return String::new() };
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    // Browsers send names that no URI may have, such as `a{b.example`: that is a name all the same, and not none.
    authority.as_ref().map_or_else(|| String::from_utf8_lossy(host.as_bytes()).to_ascii_lowercase(), plain)
}

/// Whether nobody can have this name in the DNS, to have it lead to this machine: an address, `localhost` (RFC 6761, section 6.3), or a name
/// without a dot.
#[must_use]
pub fn is_owned_by_nobody(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || !name.contains('.') || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn is_owned_by_nobody_of(uri: &str, host: &str) -> bool {
        let headers = HeaderMap::from_iter([(header::HOST, host.parse::<HeaderValue>().expect("a value"))]);
        is_owned_by_nobody(&called(&uri.parse().expect("a URI"), &headers))
    }

    #[test]
    fn names_of_other_machines_are_found() {
        for own in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.168.1.7",
            "localhost:8080",
            "LOCALHOST.",
            "a.localhost",
            "gateway:80",
        ] {
            assert!(is_owned_by_nobody_of("/", own), "{own}");
        }
        for other in [
            "shop.example",
            "shop.example:8080",
            "127.0.0.1.shop.example",
            "localhost.shop.example.",
            "a{b.shop.example:8080",
            "a`b.shop.example",
        ] {
            assert!(!is_owned_by_nobody_of("/", other), "{other}");
        }
        assert!(!is_owned_by_nobody_of("http://shop.example/", "localhost"), "HTTP/2 has it in the URI");
        assert_eq!(called(&Uri::from_static("/"), &HeaderMap::new()), "");
    }
}
