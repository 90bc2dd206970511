//! What is known of a call that has no answer: that it was not begun, or nothing.

use chassis::status::{Fault, Reason};
use tonic::{Code, Status};

use crate::{error::TransportError, unary};

/// Whether a service may have begun a call that has no answer.
#[must_use]
pub fn is_unknown(status: &Status) -> bool {
    match TransportError::of(status) {
        Some(TransportError::OutcomeUnknown) => true,
        // The one reset that says that nothing was begun (RFC 9113, section 8.7) is UNAVAILABLE.
        Some(TransportError::StreamReset) => status.code() != Code::Unavailable,
        Some(_) => false,
        None => unary::is_lost(status) || is_answered_unknown(status),
    }
}

/// Whether a service says itself that it does not know whether a write took effect.
#[must_use]
pub fn is_answered_unknown(status: &Status) -> bool {
    // The code first: it costs nothing to look at.
    status.code() == Reason::OutcomeUnknown.code()
        && Fault::from_status(status).is_some_and(|fault| fault.reason == Reason::OutcomeUnknown)
}
