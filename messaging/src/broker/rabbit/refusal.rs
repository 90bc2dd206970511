//! What the broker refuses for good is distinguished from what a new connection may cure, and comes with what to do about it.

use std::io;

use lapin::{
    ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
};

use crate::broker::BrokerError;

/// The broker's words, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{error} ({advice})")]
struct Refusal {
    error: lapin::Error,
    advice: &'static str,
}

/// An error of the client as one of ours. What is not there (404) is declared with the next connection.
pub(super) fn refused_or_lost(error: lapin::Error) -> BrokerError {
    let advice = advice(&error);
    of(error, advice)
}

/// The same before there is a connection. The login is all that is refused of access then.
pub(super) fn refused_or_not_connected(error: lapin::Error) -> BrokerError {
    let advice =
        if is_denied(&error) { Some("check user and password in the broker's URL") } else { advice(&error) };
    of(error, advice)
}

/// The user may not do it.
pub(super) fn is_denied(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(protocol)
        if matches!(protocol.kind(), AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)))
}

fn of(error: lapin::Error, advice: Option<&'static str>) -> BrokerError {
    match advice {
        Some(advice) => BrokerError::Refused(Box::new(Refusal { error, advice })),
        None => BrokerError::Connection(Box::new(error)),
    }
}

/// What to do about an error that another attempt does not cure.
fn advice(error: &lapin::Error) -> Option<&'static str> {
    let protocol = match error.kind() {
        ErrorKind::ProtocolError(protocol) => protocol,
        // What rustls says of a certificate.
        ErrorKind::IOError(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Some("check the certificate's authority and its host name");
        }
        _ => return None,
    };
    match protocol.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Some(
            "grant the user configure, write and read permission on the exchange, and on all names that begin with its name and a dot",
        ),
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Some(
            "somebody else has declared it in another way: delete it on the broker once nothing is in it, and it is declared again",
        ),
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => None,
        AMQPErrorKind::Soft(_) => Some("another program uses it in another way"),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
            Some("create the virtual host in the broker's URL, or grant the user access to it")
        }
        AMQPErrorKind::Hard(AMQPHardError::INVALIDPATH | AMQPHardError::NOTIMPLEMENTED) => {
            Some("this is no RabbitMQ of version 3.10 or later")
        }
        AMQPErrorKind::Hard(_) => None,
    }
}
