//! Which names an edge is called by that serves its own machine only.

use axum::extract::Request;
use chassis::{
    host::{called, is_owned_by_nobody},
    status::{Fault, Reason},
};
use http::{Version, header};

/// Looks who a request is for; `own_machine` where only this machine is served.
///
/// # Errors
/// MALFORMED_REQUEST over HTTP/1.1 without a Host or with several (RFC 9112, section 3.2); ORIGIN_NOT_ALLOWED for another machine.
pub(crate) fn check(request: &Request, own_machine: bool) -> Result<(), Fault> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if request.version() == Version::HTTP_11 && hosts != 1 {
        return Err(Fault::new(Reason::MalformedRequest, "a request over HTTP/1.1 has one Host"));
    }
    if own_machine && !is_owned_by_nobody(&called(request.uri(), request.headers())) {
        let message = "nobody is asked who calls here, so only names of this machine are answered: call it by an address or as localhost, \
                       or set --auth-issuer, or --insecure";
        return Err(Fault::new(Reason::OriginNotAllowed, message));
    }
    Ok(())
}
