//! Headers that must not travel: those of one connection, and those that are too long.

use chassis::status::{Fault, Reason};
use http::{HeaderMap, HeaderName, header};
use upstream::length;

use crate::settings::HOPS;

/// The longest head of a request of HTTP/2, in bytes as HTTP/2 counts them.
pub(crate) const MAX_HEAD_BYTES: usize = 32 << 10;

/// Refuses a head that is longer than the edge reads.
///
/// # Errors
/// HEADERS_TOO_LARGE.
pub(crate) fn check_head(headers: &HeaderMap) -> Result<(), Fault> {
    if length(headers) <= MAX_HEAD_BYTES {
        return Ok(());
    }
    let message = format!("the head of the request is longer than the {MAX_HEAD_BYTES} bytes that are read");
    Err(Fault::new(Reason::HeadersTooLarge, message))
}

/// Removes what concerns only the connection that a request came on: what `Connection` names, and the fields of RFC 9110, section 7.6.1,
/// whether it names them or not.
pub(crate) fn remove_hops(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let lines = headers.get_all(header::CONNECTION).iter().filter_map(|line| line.to_str().ok());
        let names: Vec<HeaderName> =
            lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
        names.iter().for_each(|name| drop(headers.remove(name)));
    }
    HOPS.iter().for_each(|name| drop(headers.remove(name)));
}
