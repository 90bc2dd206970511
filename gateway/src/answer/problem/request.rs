//! What a client got wrong: the violations of a request as a failure with a reason.

use chassis::status::{Fault, Reason, Violation};
use transcode::{RequestError, RequestErrorKind};

use super::Problem;

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        refused(error).into()
    }
}

/// Why a request is refused that cannot become a message.
pub(crate) fn refused(error: RequestError) -> Fault {
    let reason = match error.kind {
        RequestErrorKind::Unreadable => Reason::MalformedRequest,
        RequestErrorKind::Invalid => Reason::InvalidField,
    };
    let fault = Fault::new(reason, error.to_string());
    let of = |at: transcode::Violation| Violation { field: at.field, description: at.description };
    Fault { violations: error.violations.into_iter().map(of).collect(), ..fault }
}
