//! Work on long messages, aside from the threads that serve: many requests share one of those, and none waits for the message of another.

use std::{num::NonZeroUsize, panic, sync::LazyLock, thread::available_parallelism};

use chassis::status::Fault;
use tokio::{sync::Semaphore, task::spawn_blocking};

/// What is made of so many bytes is made where it is: it takes a millisecond or so.
const SHORT: usize = 32 << 10;

/// How much of this work is done at a time, on all threads of the process: one processor is left to what is short.
static PERMITS: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = available_parallelism().map_or(1, NonZeroUsize::get);
    Semaphore::new(processors.saturating_sub(1).max(1))
});

/// Whether work on so many bytes may hold up others.
pub(crate) const fn is_long(bytes: usize) -> bool {
    bytes > SHORT
}

/// What comes of work on a long message. When nobody waits for it any more, work that was not begun is not, and what was goes on to its end.
///
/// # Errors
/// INTERNAL when the process ends meanwhile.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    // Nobody closes it, so there is a permit.
    let permit = PERMITS.acquire().await;
    let worked = spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    match worked.await.map_err(|error| error.try_into_panic()) {
        Ok(done) => Ok(done),
        // As if it had been done here.
        Err(Ok(payload)) => panic::resume_unwind(payload),
        Err(Err(error)) => Err(Fault::internal(&error)),
    }
}
