//! The domain's nouns in the words of the contract.

use chassis::clock::timestamp;
use ordermesh::payments::v1 as pb;

use crate::store::{
    entity::{account, ledger, payment},
    reconciliation::Sums,
};

/// An account.
#[must_use]
pub fn account(account: &account::Model) -> pb::Account {
    pb::Account {
        user_id: account.user_id.clone(),
        balance: Some(account.balance),
        currency_code: account.currency_code.clone(),
        version: Some(account.version),
        create_time: Some(timestamp(account.create_time)),
        update_time: Some(timestamp(account.update_time)),
    }
}

/// A ledger entry.
#[must_use]
pub fn entry(entry: &ledger::Model) -> pb::LedgerEntry {
    let entry_type = match entry.entry_type {
        ledger::EntryType::TopUp => pb::ledger_entry::Type::TopUp,
        ledger::EntryType::OrderDebit => pb::ledger_entry::Type::OrderDebit,
    };
    pb::LedgerEntry {
        id: entry.id.to_string(),
        user_id: entry.user_id.clone(),
        sequence: entry.sequence,
        r#type: entry_type.into(),
        amount: entry.amount,
        balance_after: Some(entry.balance_after),
        order_id: entry.order_id.map(|id| id.to_string()).unwrap_or_default(),
        request_id: entry.request_id.clone().unwrap_or_default(),
        counter_account: entry.counter_account.clone(),
        create_time: Some(timestamp(entry.create_time)),
    }
}

/// A payment decision.
#[must_use]
pub fn payment(payment: &payment::Model) -> pb::Payment {
    let outcome = match payment.outcome {
        payment::Outcome::Paid => pb::payment::Outcome::Paid,
        payment::Outcome::Rejected => pb::payment::Outcome::Rejected,
        payment::Outcome::Voided => pb::payment::Outcome::Voided,
    };
    let reason = payment.reason.map_or(pb::payment::Reason::Unspecified, |reason| match reason {
        payment::Reason::InsufficientFunds => pb::payment::Reason::InsufficientFunds,
        payment::Reason::AccountNotFound => pb::payment::Reason::AccountNotFound,
        payment::Reason::CurrencyMismatch => pb::payment::Reason::CurrencyMismatch,
        payment::Reason::UserRequested => pb::payment::Reason::UserRequested,
        payment::Reason::PaymentExpired => pb::payment::Reason::PaymentExpired,
    });
    pb::Payment {
        order_id: payment.order_id.to_string(),
        user_id: payment.user_id.clone(),
        amount: payment.amount,
        currency_code: payment.currency_code.clone(),
        outcome: outcome.into(),
        reason: reason.into(),
        account_version: payment.account_version,
        balance_observed: payment.balance_observed,
        ledger_entry_id: payment.ledger_entry_id.map(|id| id.to_string()).unwrap_or_default(),
        decide_time: Some(timestamp(payment.decide_time)),
    }
}

/// The sums of one currency.
#[must_use]
pub fn sums(sums: Sums) -> pb::reconciliation_report::Currency {
    let Sums { currency_code, accounts, balances, top_ups, debits } = sums;
    pb::reconciliation_report::Currency { currency_code, accounts, balances, top_ups, debits }
}
