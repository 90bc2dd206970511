//! The tables of payments, and every query by its intention.

pub mod schema;
pub mod accounts;
pub mod ledger;
pub mod payments;
pub mod reconciliation;

use chassis::status::{Fault, Reason};
use storage::Failure;

/// What a caller hears of a failed transaction or query.
#[must_use]
pub fn fault(failure: Failure) -> Fault {
    match failure {
        Failure::Unavailable(_) => {
            tracing::warn!(error = %chassis::status::Chain(&failure), "the database is not available");
            Fault::new(Reason::StorageUnavailable, "the database is not available: try again")
        }
        Failure::Full(_) => {
            tracing::warn!(error = %chassis::status::Chain(&failure), "the database has no space left");
            Fault::new(Reason::StorageFull, "the database has no space left; nothing was stored")
        }
        Failure::Unknown(_) => {
            tracing::warn!(error = %chassis::status::Chain(&failure), "whether a commit took effect is not known");
            Fault::unknown_outcome("the database went away while it committed")
        }
        Failure::Contention(_) => {
            Fault::new(Reason::ConcurrentUpdate, "others changed the same data: try again")
        }
        Failure::Refused(_) | Failure::Panicked => Fault::internal(&failure),
    }
}
