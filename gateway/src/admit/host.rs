//! Which names an edge is called by that serves its own machine only.
//!
//! A browser calls the edge for a page of any origin once the name of that origin leads to this machine (DNS rebinding), and then keeps no
//! answer from it: page and edge have one origin. Only the name differs.

use std::net::IpAddr;

use axum::extract::Request;
use chassis::status::{Fault, Reason};
use http::{Version, header, uri::Authority};

/// Looks who a request is for; `own_machine` where only this machine is served.
///
/// # Errors
/// MALFORMED_REQUEST over HTTP/1.1 without a Host or with several (RFC 9112, section 3.2); ORIGIN_NOT_ALLOWED for another machine.
pub(crate) fn check(request: &Request, own_machine: bool) -> Result<(), Fault> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if request.version() == Version::HTTP_11 && hosts != 1 {
        return Err(Fault::new(Reason::MalformedRequest, "a request over HTTP/1.1 has one Host"));
    }
    if own_machine && !is_of_this_machine(request) {
        let message = "nobody is asked who calls here, so only names of this machine are answered: call it by an address or as localhost, \
                       or set --auth-issuer, or --insecure";
        return Err(Fault::new(Reason::OriginNotAllowed, message));
    }
    Ok(())
}

/// Whether the request is for an address, for `localhost` (RFC 6761, section 6.3), or for a name without a dot: nobody owns one in the DNS.
fn is_of_this_machine(request: &Request) -> bool {
    let host =
        request.headers().get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let Some(authority) = request.uri().authority().cloned().or(host) else { return true };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || !name.contains('.') || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn names_of_other_machines_are_found() {
        let of = |host: &str| Request::get("/").header("host", host).body(Body::empty()).expect("a request");
        for own in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.168.1.7",
            "localhost:8080",
            "LOCALHOST.",
            "a.localhost",
            "gateway:80",
        ] {
            assert!(is_of_this_machine(&of(own)), "{own}");
        }
        for other in
            ["shop.example", "shop.example:8080", "127.0.0.1.shop.example", "localhost.shop.example."]
        {
            assert!(!is_of_this_machine(&of(other)), "{other}");
        }
        let absolute = Request::get("http://shop.example/").header("host", "localhost").body(Body::empty());
        assert!(!is_of_this_machine(&absolute.expect("a request")), "HTTP/2 has it in the URI");
    }
}
