//! Decisions that payments has lost, made again as they were.

use uuid::Uuid;

use super::{Book, Charge};
use crate::store::entity::payment::{Model as Payment, Outcome, Reason};

/// A decision that was lost and is to be made again as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What was decided.
    pub outcome: Outcome,
    /// Why it was not paid.
    pub reason: Option<Reason>,
    /// The debit, when it was paid.
    pub ledger_entry_id: Option<Uuid>,
}

impl Book<'_> {
    /// Decides about a charge as was decided before; `None`, and nothing is booked, when that would be decided otherwise now. The caller
    /// makes sure that no decision about this order exists.
    pub fn restore(&mut self, charge: &Charge, was: &Restored) -> Option<Payment> {
        let account = self.accounts.get(&charge.user_id);
        let is_paid = charge.void.is_none()
            && account.is_some_and(|account| {
                account.currency_code == charge.currency_code && account.balance >= charge.amount
            });
        // What is not paid books nothing.
        if is_paid != (was.outcome == Outcome::Paid) {
            return None;
        }
        let mut payment = self.decide(charge);
        if is_paid && let (Some(entry), Some(id)) = (self.entries.last_mut(), was.ledger_entry_id) {
            entry.id = id;
            payment.ledger_entry_id = Some(id);
        }
        ((payment.outcome, payment.reason) == (was.outcome, was.reason)).then_some(payment)
    }
}

#[cfg(test)]
mod tests {
    use chassis::clock::SystemClock;
    use messaging::origin::Origin;

    use super::*;
    use crate::store::entity::account::Model as Account;

    fn restored(balance: i64, void: Option<Reason>, was: &Restored) -> (Option<Payment>, i64) {
        let account = Account {
            user_id: "alice".into(),
            balance,
            currency_code: "RUB".into(),
            version: 3,
            create_time: 0,
            update_time: 0,
            request_id: None,
            fingerprint: None,
        };
        let charge = Charge {
            order_id: Uuid::nil(),
            user_id: "alice".into(),
            amount: 60,
            currency_code: "RUB".into(),
            void,
            origin: Origin::default(),
            restored: Some(was.clone()),
        };
        let mut book = Book::open([account], &SystemClock);
        let payment = book.restore(&charge, was);
        let debited = book.close().entries.iter().map(|entry| entry.amount).sum();
        (payment, debited)
    }

    #[test]
    fn a_debit_gets_its_id_back_or_is_not_made() {
        let paid = Restored { outcome: Outcome::Paid, reason: None, ledger_entry_id: Some(Uuid::max()) };
        let (payment, debited) = restored(60, None, &paid);
        assert_eq!(payment.and_then(|payment| payment.ledger_entry_id), Some(Uuid::max()));
        assert_eq!(debited, -60);
        assert_eq!(restored(59, None, &paid), (None, 0));
    }

    #[test]
    fn a_rejection_is_made_again_only_for_its_reason() {
        let reason = Some(Reason::InsufficientFunds);
        let rejected = Restored { outcome: Outcome::Rejected, reason, ledger_entry_id: None };
        let (payment, debited) = restored(59, None, &rejected);
        assert_eq!((payment.and_then(|payment| payment.balance_observed), debited), (Some(59), 0));
        assert_eq!(restored(60, None, &rejected), (None, 0));
        let stranger = Restored { reason: Some(Reason::AccountNotFound), ..rejected };
        assert_eq!(restored(59, None, &stranger), (None, 0));
    }

    #[test]
    fn a_void_is_always_made_again() {
        let reason = Some(Reason::UserRequested);
        let voided = Restored { outcome: Outcome::Voided, reason, ledger_entry_id: None };
        let (payment, debited) = restored(1_000, reason, &voided);
        assert_eq!((payment.map(|payment| payment.outcome), debited), (Some(Outcome::Voided), 0));
    }
}
