//! Calls that are made again: only where a second one cannot do harm, and only as far as a budget goes.

use std::{future::Future, time::Duration};

use tokio::time::sleep;
use tonic::{Code, Status};
use tower::retry::budget::{Budget as _, TpsBudget};

use crate::{error::TransportError, metrics, outcome};

/// Calls for one request, the first included.
const ATTEMPTS: u32 = 3;

/// The pause before the second call. A service that restarts has gone by then, and the next endpoint is tried. The third comes after as long
/// where a service has answered, which without its database refuses all of them within 0.1 s, and otherwise after four times as long: a
/// connection may be made anew meanwhile.
const PAUSE: Duration = Duration::from_millis(25);

/// The budget counts the calls of so long a time.
const WINDOW: Duration = Duration::from_secs(10);

/// Retries that are always allowed, so that a quiet process retries too, in a second.
const FEW: u32 = 10;

/// Retries in proportion to calls: a service that fails is not asked twice as much.
const SHARE: f32 = 0.2;

/// What all requests share.
#[derive(Debug)]
pub struct Retries(TpsBudget);

impl Default for Retries {
    fn default() -> Self {
        Self(TpsBudget::new(WINDOW, FEW, SHARE))
    }
}

impl Retries {
    /// Makes a call, and makes it again while it fails because the service is away, if it is `safe` to make it twice: a read, or a
    /// request with an idempotency key (RFC 9110, section 9.2.2). A call that was not sent is always safe.
    ///
    /// # Errors
    /// That of the last call.
    pub async fn run<T, F: Future<Output = Result<T, Status>>>(
        &self,
        safe: bool,
        mut call: impl FnMut() -> F,
    ) -> Result<T, Status> {
        self.0.deposit();
        let (mut pause, mut before) = (PAUSE, None);
        for _ in 1..ATTEMPTS {
            match call().await {
                Err(status) if is_worth_another(&status, safe, before) && self.0.withdraw() => {
                    before = TransportError::of(&status);
                    metrics::retried();
                    tracing::debug!(error = status.message(), "a call is made again");
                    sleep(pause).await;
                    if before.is_some() {
                        pause *= 4;
                    }
                }
                outcome => return outcome,
            }
        }
        call().await
    }
}

/// Whether a call that has failed so is made again; `before` is how the transport failed in the attempt before, if it did.
fn is_worth_another(status: &Status, safe: bool, before: Option<TransportError>) -> bool {
    use TransportError::{Body, NoEndpoint, NotSent, OutcomeUnknown, Request, StreamReset, TooLarge};
    match TransportError::of(status) {
        // The only endpoint is left out because of the attempt before: it is connected to again meanwhile.
        Some(NoEndpoint) => before == Some(NotSent),
        Some(Request | Body | TooLarge) => false,
        Some(NotSent) => true,
        Some(OutcomeUnknown) => safe,
        Some(StreamReset) => safe && status.code() == Code::Unavailable,
        // What a service does not know of a request with a key, the second call finds out.
        None => safe && (status.code() == Code::Unavailable || outcome::is_answered_unknown(status)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use chassis::status::{Fault, Reason};
    use tokio::time::Instant;
    use tonic::ConnectError;

    use super::*;
    use crate::error::no_endpoint;

    fn not_sent() -> Status {
        Status::from_error(Box::new(ConnectError("refused".into())))
    }

    /// How often a call is made that fails so.
    async fn calls(retries: &Retries, safe: bool, status: Status) -> u32 {
        let count = AtomicU32::new(0);
        let call = || {
            count.fetch_add(1, Relaxed);
            std::future::ready(Err::<(), _>(status.clone()))
        };
        retries.run(safe, call).await.expect_err("it fails");
        count.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_safe_and_unavailable_is_called_again() {
        let retries = Retries::default();
        assert_eq!(calls(&retries, true, Status::unavailable("away")).await, ATTEMPTS);
        assert_eq!(calls(&retries, false, Status::unavailable("away")).await, 1);
        assert_eq!(calls(&retries, true, Status::internal("broken")).await, 1);
        let unknown = || Status::from(Fault::new(Reason::OutcomeUnknown, "the commit has no answer"));
        assert_eq!(calls(&retries, true, unknown()).await, ATTEMPTS);
        assert_eq!(calls(&retries, false, unknown()).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_sent_is_called_again_and_what_nobody_takes_is_not() {
        let retries = Retries::default();
        let count = AtomicU32::new(0);
        let call = || {
            count.fetch_add(1, Relaxed);
            std::future::ready(Err::<(), _>(not_sent()))
        };
        retries.run(false, call).await.expect_err("it fails");
        assert_eq!(count.into_inner(), ATTEMPTS);
        let count = AtomicU32::new(0);
        let call = || {
            count.fetch_add(1, Relaxed);
            std::future::ready(Err::<(), _>(no_endpoint()))
        };
        retries.run(true, call).await.expect_err("it fails");
        assert_eq!(count.into_inner(), 1);
    }

    /// The connection is made anew while the call waits for its third attempt.
    #[tokio::test(start_paused = true)]
    async fn a_call_that_has_closed_the_only_endpoint_waits_for_it() {
        let (retries, began) = (Retries::default(), Instant::now());
        let mut outcomes = [Err(not_sent()), Err(no_endpoint()), Ok(())].into_iter();
        let call = || std::future::ready(outcomes.next().expect("three calls at most"));
        retries.run(false, call).await.expect("the endpoint is there again");
        assert!(began.elapsed() >= PAUSE * 5, "{:?}", began.elapsed());
        // Another call has closed it: this one fails at once.
        let mut outcomes = [Err(Status::unavailable("away")), Err(no_endpoint()), Ok(())].into_iter();
        let call = || std::future::ready(outcomes.next().expect("two calls at most"));
        retries.run(true, call).await.expect_err("nobody takes it");
        assert_eq!(outcomes.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_ends_a_storm() {
        let retries = Retries::default();
        let mut total = 0;
        for _ in 0..1_000 {
            total += calls(&retries, true, Status::unavailable("away")).await;
        }
        assert!(total < 1_600, "{total} calls for 1,000 requests");
    }
}
