//! The time that a request has.

use std::future::Future;

use chassis::status::{Fault, Reason};
use tokio::time::{Instant, timeout_at};

/// What comes of `work` before the deadline, if there is one.
///
/// # Errors
/// DEADLINE_EXCEEDED.
pub(crate) async fn within<T>(
    deadline: impl Into<Option<Instant>>,
    work: impl Future<Output = T>,
) -> Result<T, Fault> {
    match deadline.into() {
        None => Ok(work.await),
        Some(deadline) => timeout_at(deadline, work).await.map_err(|_| deadline_exceeded()),
    }
}

/// The time that a request had is over.
pub(crate) fn deadline_exceeded() -> Fault {
    let message = "the time for this request is over; whether it took effect is not known";
    Fault::new(Reason::DeadlineExceeded, message)
}
