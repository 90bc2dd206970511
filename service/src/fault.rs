//! What a caller is answered when the database does not do what it should.

use chassis::status::{Chain, Fault, Reason};
use storage::Failure;

/// The answer to a failed transaction or query.
#[must_use]
pub fn fault(failure: impl Into<Failure>) -> Fault {
    let failure = failure.into();
    match failure {
        Failure::Unavailable(_) => {
            tracing::warn!(error = %Chain(&failure), "the database is not available");
            Fault::new(Reason::StorageUnavailable, "the database is not available: try again")
        }
        Failure::Full(_) => {
            tracing::warn!(error = %Chain(&failure), "the database has no space left");
            Fault::new(Reason::StorageFull, "the database has no space left; nothing was stored")
        }
        Failure::Unknown(_) => {
            tracing::warn!(error = %Chain(&failure), "whether a commit took effect is not known");
            Fault::unknown_outcome("the database went away while it committed")
        }
        Failure::Contention(_) => {
            Fault::new(Reason::ConcurrentUpdate, "others changed the same data: try again")
        }
        Failure::Refused(_) | Failure::Panicked => Fault::internal(&failure),
    }
}
