//! What a client got wrong: the violations of a request as a failure with a reason.

use chassis::status::{Fault, Violation};
use transcode::{RequestError, RequestErrorKind};

use super::Problem;

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        refused(error).into()
    }
}

/// Why a request is refused that cannot become a message.
pub(crate) fn refused(error: RequestError) -> Fault {
    let of = |at: transcode::Violation| Violation { field: at.field, description: at.description };
    let (is_readable, message) = (error.kind == RequestErrorKind::Invalid, error.to_string());
    Fault::of_request(is_readable, message, error.violations.into_iter().map(of).collect())
}
