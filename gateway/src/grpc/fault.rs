//! Why a call that passes has no answer of its service.

use chassis::status::{Fault, Reason};
use tonic::Status;
use upstream::{TransportError, is_unknown, too_large};

/// The edge stops, and what streams with it.
pub(super) fn stopping() -> Fault {
    Fault::new(Reason::UpstreamUnavailable, "the edge is stopping: call again")
}

/// Why a call has no answer of the service. Of a write that may have been begun nobody says that its service is away: clients repeat
/// UNAVAILABLE by themselves.
pub(crate) fn fault(status: &Status, writes: bool) -> Fault {
    if let Some(fault) = Fault::from_status(status) {
        return fault;
    }
    match TransportError::of(status) {
        Some(TransportError::NoEndpoint) => Fault::new(Reason::UpstreamUnavailable, status.message()),
        Some(TransportError::Body) => Fault::new(Reason::MalformedRequest, status.message()),
        Some(TransportError::Request) => Fault::internal(status),
        Some(TransportError::TooLarge) => too_large(),
        _ if writes && is_unknown(status) => Fault::new(
            Reason::OutcomeUnknown,
            "whether the call took effect is not known: repeat it with the same request_id, or look before you send it again",
        ),
        _ => Fault::new(Reason::UpstreamUnavailable, "the service behind the edge cannot be reached"),
    }
}
