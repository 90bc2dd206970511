//! The double entry.

use crate::store::entity::ledger::EntryType;

impl EntryType {
    /// The other side of the double entry.
    #[must_use]
    pub const fn counter_account(self) -> &'static str {
        match self {
            Self::TopUp => "system:cash-in",
            Self::OrderDebit => "system:order-revenue",
        }
    }
}
