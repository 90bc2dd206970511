//! What is known of a write that has no answer: that nothing was begun, or nothing at all.

use std::time::Duration;

use chassis::status::{Fault, Reason};
use tonic::Status;
use transcode::Route;

use crate::answer::problem::{Problem, cause};

/// When a request with a key may be repeated whose answer was lost: a service that restarts is back by then.
const REPEAT_AFTER: Duration = Duration::from_secs(1);

/// Why a write has no answer. What may have taken effect all the same is not said to be away: without a key nobody can safely try it again.
#[must_use]
pub(crate) fn of_write(status: &Status, route: &Route, keyed: bool) -> Problem {
    if !upstream::is_unknown(status) {
        return Problem::from_status(status, route);
    }
    tracing::warn!(error = cause(status), "the answer to a write was lost");
    let text = if keyed {
        "whether the request took effect is not known: repeat it with the same Idempotency-Key"
    } else {
        "whether the request took effect is not known: look before you send it again; with an Idempotency-Key it could be repeated"
    };
    Fault { retry_after: keyed.then_some(REPEAT_AFTER), ..Fault::new(Reason::OutcomeUnknown, text) }.into()
}
