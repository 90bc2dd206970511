//! What a client got wrong: the violations of a request as a failure with a reason.

use chassis::status::{Fault, Reason, Violation};
use transcode::{RequestError, RequestErrorKind, Route};

use super::{KNOWN, Problem};

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        refused(error).into()
    }
}

/// Why a request is refused that cannot become a message.
pub(crate) fn refused(error: RequestError) -> Fault {
    if error.kind == RequestErrorKind::TooLarge {
        return Fault::new(Reason::BodyTooLarge, error.to_string());
    }
    let of = |at: transcode::Violation| Violation { field: at.field, description: at.description };
    let (is_readable, message) = (error.kind == RequestErrorKind::Invalid, error.to_string());
    Fault::of_request(is_readable, message, error.violations.into_iter().map(of).collect())
}

impl Problem {
    /// Names the fields of a request as its JSON does.
    pub(super) fn name_as_json(&mut self, route: &Route) {
        self.violations.iter_mut().for_each(|at| at.field = route.json_path(&at.field));
        let [_, bad_request, _] = KNOWN;
        let bad_requests = self.sent_details.iter_mut().filter(|detail| detail["@type"] == bad_request);
        let violations = bad_requests.filter_map(|detail| detail.get_mut("fieldViolations")?.as_array_mut());
        for field in violations.flatten().filter_map(|at| at.get_mut("field")) {
            *field = route.json_path(field.as_str().unwrap_or_default()).into();
        }
    }
}
