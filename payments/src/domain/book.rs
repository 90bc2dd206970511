//! The book: accounts loaded once, entries booked on them in order, decisions made against the balance as it then stands.

mod restored;

use std::collections::HashMap;

use chassis::clock::Clock;
use messaging::origin::Origin;
use ordermesh::rules::BALANCE_MAX;
use uuid::Uuid;

pub use self::restored::Restored;
use super::deposit::{Deposit, Refusal};
use crate::store::entity::{
    account::Model as Account,
    ledger::{EntryType, Model as Entry},
    payment::{Model as Payment, Outcome, Reason},
};

/// What an order asks of the ledger: to be paid, or never to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The order, idempotency key of its debit.
    pub order_id: Uuid,
    /// Whose account pays.
    pub user_id: String,
    /// In minor units, 1 to 10^12.
    pub amount: i64,
    /// ISO 4217.
    pub currency_code: String,
    /// Why it is never to be paid; absent when it is to be paid.
    pub void: Option<Reason>,
    /// On whose behalf the order was placed.
    pub origin: Origin,
    /// The decision that there has to be, or none; absent when any may be.
    pub restored: Option<Restored>,
}

impl Charge {
    /// Whether a decision is about what this asks: the same account, amount and currency.
    #[must_use]
    pub fn fits(&self, payment: &Payment) -> bool {
        (&self.user_id, self.amount, &self.currency_code)
            == (&payment.user_id, payment.amount, &payment.currency_code)
    }
}

/// The accounts of a transaction, and what is booked on them.
#[derive(Debug)]
pub struct Book<'c> {
    accounts: HashMap<String, Account>,
    opened_at: HashMap<String, i64>,
    entries: Vec<Entry>,
    clock: &'c dyn Clock,
}

/// What has to be written: entries, and the accounts as they stand with those booked.
#[derive(Debug, Default)]
pub struct Bookings {
    /// In the order they were booked.
    pub entries: Vec<Entry>,
    /// Each account with the version that it was loaded with.
    pub accounts: Vec<(Account, i64)>,
}

impl<'c> Book<'c> {
    /// A book over these accounts.
    pub fn open(accounts: impl IntoIterator<Item = Account>, clock: &'c dyn Clock) -> Self {
        let accounts: HashMap<_, _> =
            accounts.into_iter().map(|account| (account.user_id.clone(), account)).collect();
        let opened_at = accounts.iter().map(|(user, account)| (user.clone(), account.version)).collect();
        Self { accounts, opened_at, entries: Vec::new(), clock }
    }

    /// Decides about a charge: against the balance as it stands, with the debit booked when it is paid. The caller makes sure
    /// that no decision about this order exists.
    pub fn decide(&mut self, charge: &Charge) -> Payment {
        if let Some(reason) = charge.void {
            return self.refusal(charge, Outcome::Voided, reason, None);
        }
        let Some(account) = self.accounts.get_mut(&charge.user_id) else {
            return self.refusal(charge, Outcome::Rejected, Reason::AccountNotFound, None);
        };
        let observed = Some((account.version, account.balance));
        if account.currency_code != charge.currency_code {
            return self.refusal(charge, Outcome::Rejected, Reason::CurrencyMismatch, observed);
        }
        if account.balance < charge.amount {
            return self.refusal(charge, Outcome::Rejected, Reason::InsufficientFunds, observed);
        }
        let balance_observed = account.balance;
        let mut entry = entry(account, EntryType::OrderDebit, -charge.amount, &charge.origin, self.clock);
        entry.order_id = Some(charge.order_id);
        let payment = Payment {
            order_id: charge.order_id,
            user_id: charge.user_id.clone(),
            amount: charge.amount,
            currency_code: charge.currency_code.clone(),
            outcome: Outcome::Paid,
            reason: None,
            account_version: Some(entry.sequence),
            balance_observed: Some(balance_observed),
            ledger_entry_id: Some(entry.id),
            decide_time: entry.create_time,
        };
        self.entries.push(entry);
        payment
    }

    fn refusal(
        &self,
        charge: &Charge,
        outcome: Outcome,
        reason: Reason,
        observed: Option<(i64, i64)>,
    ) -> Payment {
        Payment {
            order_id: charge.order_id,
            user_id: charge.user_id.clone(),
            amount: charge.amount,
            currency_code: charge.currency_code.clone(),
            outcome,
            reason: Some(reason),
            account_version: observed.map(|(version, _)| version),
            balance_observed: observed.map(|(_, balance)| balance),
            ledger_entry_id: None,
            decide_time: self.clock.now(),
        }
    }

    /// Books a deposit; returns the account and the entry.
    ///
    /// # Errors
    /// Nothing is booked then.
    pub fn deposit(&mut self, deposit: &Deposit) -> Result<(Account, Entry), Refusal> {
        let account = self.accounts.get_mut(&deposit.user_id).ok_or(Refusal::NoAccount)?;
        if deposit.versions.as_ref().is_some_and(|versions| !versions.contains(&account.version)) {
            return Err(Refusal::OtherVersion(account.version));
        }
        if account.currency_code != deposit.currency_code {
            return Err(Refusal::OtherCurrency(account.currency_code.clone()));
        }
        if account.balance.checked_add(deposit.amount).is_none_or(|balance| balance > BALANCE_MAX) {
            return Err(Refusal::BalanceLimit);
        }
        let mut entry = entry(account, EntryType::TopUp, deposit.amount, &deposit.origin, self.clock);
        entry.request_id.clone_from(&deposit.request_id);
        entry.fingerprint = deposit.request_id.is_some().then(|| deposit.fingerprint.to_vec());
        self.entries.push(entry.clone());
        Ok((account.clone(), entry))
    }

    /// An account as it stands.
    #[must_use]
    pub fn account(&self, user_id: &str) -> Option<&Account> {
        self.accounts.get(user_id)
    }

    /// What has to be written.
    #[must_use]
    pub fn close(self) -> Bookings {
        let Self { accounts, opened_at, entries, .. } = self;
        let version = |account: &Account| opened_at.get(&account.user_id).copied().unwrap_or_default();
        let mut changed: Vec<(Account, i64)> = accounts
            .into_values()
            .map(|account| (version(&account), account))
            .filter(|(opened_at, account)| account.version != *opened_at)
            .map(|(opened_at, account)| (account, opened_at))
            .collect();
        changed.sort_by(|(one, _), (other, _)| one.user_id.cmp(&other.user_id));
        Bookings { entries, accounts: changed }
    }
}

/// Books `amount` on the account, whose balance the caller has checked.
fn entry(
    account: &mut Account,
    entry_type: EntryType,
    amount: i64,
    origin: &Origin,
    clock: &dyn Clock,
) -> Entry {
    let now = clock.now();
    account.balance += amount;
    account.version += 1;
    account.update_time = now;
    Entry {
        id: clock.new_id(),
        user_id: account.user_id.clone(),
        sequence: account.version,
        entry_type,
        amount,
        balance_after: account.balance,
        order_id: None,
        request_id: None,
        fingerprint: None,
        counter_account: entry_type.counter_account().to_owned(),
        create_time: now,
        subject: origin.subject.clone(),
        token_id: origin.token_id.clone(),
        trace_id: origin.trace_id.clone(),
        x_request_id: origin.x_request_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use chassis::clock::SystemClock;

    use super::*;

    fn account(balance: i64) -> Account {
        Account {
            user_id: "alice".into(),
            balance,
            currency_code: "RUB".into(),
            version: 3,
            create_time: 0,
            update_time: 0,
            request_id: None,
            fingerprint: None,
        }
    }

    fn charge(amount: i64, currency_code: &str) -> Charge {
        Charge {
            order_id: SystemClock.new_id(),
            user_id: "alice".into(),
            amount,
            currency_code: currency_code.into(),
            void: None,
            origin: Origin::default(),
            restored: None,
        }
    }

    #[test]
    fn a_batch_is_decided_in_order_against_the_running_balance() {
        let mut book = Book::open([account(100)], &SystemClock);
        let decided = [60, 60, 40].map(|amount| book.decide(&charge(amount, "RUB")));
        assert_eq!(
            decided.each_ref().map(|payment| payment.outcome),
            [Outcome::Paid, Outcome::Rejected, Outcome::Paid]
        );
        // The rejection proves itself: 40 was there when 60 was asked.
        assert_eq!(
            (decided[1].reason, decided[1].balance_observed),
            (Some(Reason::InsufficientFunds), Some(40))
        );
        assert_eq!(decided[1].account_version, Some(4));
        let bookings = book.close();
        let (after, loaded) = &bookings.accounts[0];
        assert_eq!((after.balance, after.version, *loaded), (0, 5, 3));
        let chain: Vec<_> = bookings
            .entries
            .iter()
            .map(|entry| (entry.sequence, entry.amount, entry.balance_after))
            .collect();
        assert_eq!(chain, [(4, -60, 40), (5, -40, 0)]);
    }

    #[test]
    fn rejections_and_voids_change_nothing() {
        let mut book = Book::open([account(100)], &SystemClock);
        assert_eq!(book.decide(&charge(1, "EUR")).reason, Some(Reason::CurrencyMismatch));
        let stranger = Charge { user_id: "bob".into(), ..charge(1, "RUB") };
        let payment = book.decide(&stranger);
        assert_eq!((payment.reason, payment.account_version), (Some(Reason::AccountNotFound), None));
        let void = Charge { void: Some(Reason::UserRequested), ..charge(1, "RUB") };
        let payment = book.decide(&void);
        assert_eq!((payment.outcome, payment.reason), (Outcome::Voided, Some(Reason::UserRequested)));
        let bookings = book.close();
        assert!(bookings.entries.is_empty() && bookings.accounts.is_empty());
    }

    #[test]
    fn deposits_stop_at_the_balance_limit() {
        let deposit = |amount| Deposit {
            user_id: "alice".into(),
            amount,
            currency_code: "RUB".into(),
            request_id: None,
            versions: None,
            fingerprint: [0; 32],
            origin: Origin::default(),
        };
        let mut book = Book::open([account(BALANCE_MAX - 10)], &SystemClock);
        let refused = book.deposit(&deposit(11)).expect_err("the limit is passed");
        assert_eq!(refused, Refusal::BalanceLimit);
        let (account, entry) = book.deposit(&deposit(10)).expect("the limit is reached");
        assert_eq!((account.balance, entry.balance_after, entry.sequence), (BALANCE_MAX, BALANCE_MAX, 4));
    }
}
