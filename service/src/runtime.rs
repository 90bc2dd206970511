//! The threads of a service.

use std::{env, io, num::NonZeroUsize, thread::available_parallelism};

use tokio::runtime::{Builder, Runtime};

/// tokio's own variable, which says how many threads there are.
const THREADS: &str = "TOKIO_WORKER_THREADS";

/// A runtime with a thread for every second processor, unless `TOKIO_WORKER_THREADS` says how many.
///
/// A service does a fraction of an order's work, next to a database and a broker. With a thread for each processor a task goes from
/// one to another at every turn, and each time a processor that sleeps is woken for it.
///
/// # Errors
/// When the system gives no thread.
pub fn runtime() -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if env::var_os(THREADS).is_none() {
        let processors = available_parallelism().map_or(1, NonZeroUsize::get);
        builder.worker_threads((processors / 2).max(1));
    }
    builder.enable_all().build()
}
