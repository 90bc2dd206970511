//! One order.

use sea_orm::entity::prelude::*;

/// Payments is asked again after this part of the time that an order has: 30 s of the usual ten minutes.
const ASKS_OF_TTL: i64 = 20;
/// Sooner would ask again for what is merely under way, in microseconds.
const SOONEST_ASK: i64 = 1_000_000;
/// However long an order has, payments is asked again after this time, in microseconds.
const LATEST_FIRST_ASK: i64 = 30_000_000;
/// However long payments has been silent, it is asked again after this time, in microseconds.
const LATEST_ASK: i64 = 3_600_000_000;

/// Where an order stands; the numbers are those of the contract. NEW is the only status that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum Status {
    /// Placed, not yet decided.
    New = 1,
    /// Paid.
    Finished = 2,
    /// Not paid, and never to be.
    Cancelled = 3,
}

/// Why an order was cancelled; the numbers are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum CancelReason {
    /// The balance was below the amount.
    InsufficientFunds = 1,
    /// The user has no account.
    AccountNotFound = 2,
    /// The account is held in another currency.
    CurrencyMismatch = 3,
    /// CancelOrder came before the payment.
    UserRequested = 4,
    /// The payment was not decided in time.
    PaymentExpired = 5,
}

/// One order.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "orders")]
pub struct Model {
    /// UUIDv7: ids sort by the time of placing.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose account pays.
    pub user_id: String,
    /// In minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency_code: String,
    /// Free text.
    pub description: String,
    /// Where it stands.
    pub status: Status,
    /// Why it was cancelled.
    pub cancel_reason: Option<CancelReason>,
    /// In microseconds since the Unix epoch.
    pub create_time: i64,
    /// In microseconds since the Unix epoch.
    pub update_time: i64,
    /// When an undecided payment is given up, in microseconds since the Unix epoch.
    pub expire_time: i64,
    /// When CancelOrder was called, in microseconds since the Unix epoch. It never changes.
    pub cancel_request_time: Option<i64>,
    /// The idempotency key of that call. Later calls may have had others: see [`crate::store::cancellations`].
    pub cancel_request_id: Option<String>,
    /// When a process of the version before, which may still run beside this one, requests the void of the payment: `expire_time`, and
    /// nothing here reads or changes it.
    pub void_due_time: i64,
    /// When payments is to be asked again, as long as the order is NEW, in microseconds since the Unix epoch; 0, which is due at once, for
    /// an order that a version before this column has placed.
    pub ask_due_time: i64,
    /// The message that payments was asked with last. `None`: that of the placement, whose id is the order's own.
    pub asked_message_id: Option<Uuid>,
    /// 1 when placed, one more with every change.
    pub version: i64,
    /// The number of the transaction that changed it last: see [`crate::store::changes`].
    pub change_number: i64,
    /// The debit.
    pub ledger_entry_id: Option<Uuid>,
    /// The idempotency key that it was placed with.
    pub request_id: Option<String>,
    /// What was asked with that key.
    pub fingerprint: Option<Vec<u8>>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// The order as it was when it was placed: rebuilt from what never changes.
    #[must_use]
    pub fn as_placed(&self) -> Self {
        Self {
            status: Status::New,
            cancel_reason: None,
            update_time: self.create_time,
            cancel_request_time: None,
            cancel_request_id: None,
            version: 1,
            ledger_entry_id: None,
            ..self.clone()
        }
    }

    /// The order as it was when its cancellation was requested, if that was.
    #[must_use]
    pub fn as_cancel_requested(&self) -> Option<Self> {
        let at = self.cancel_request_time?;
        let cancel_request_id = self.cancel_request_id.clone();
        let placed = self.as_placed();
        let version = placed.version + 1;
        Some(Self { cancel_request_time: Some(at), cancel_request_id, update_time: at, version, ..placed })
    }

    /// The id of the message that payments was asked with last.
    #[must_use]
    pub fn last_message(&self) -> Uuid {
        self.asked_message_id.unwrap_or(self.id)
    }

    /// Whether an undecided payment is given up at `now`.
    #[must_use]
    pub const fn is_expired(&self, now: i64) -> bool {
        now >= self.expire_time
    }

    /// When payments is to be asked again that was asked `now`. Each time it has twice as long as the time before, so that a silence of an
    /// hour costs a dozen messages; the expiry, like a cancellation, begins anew.
    #[must_use]
    pub fn next_ask(&self, now: i64) -> i64 {
        let expired = self.is_expired(now).then_some(self.expire_time);
        let begun = [Some(self.create_time), self.cancel_request_time, expired].into_iter().flatten().max();
        let soonest =
            ((self.expire_time - self.create_time) / ASKS_OF_TTL).clamp(SOONEST_ASK, LATEST_FIRST_ASK);
        let silent = now.saturating_sub(begun.unwrap_or(now)).clamp(soonest, LATEST_ASK);
        let next = now.saturating_add(silent);
        if expired.is_some() { next } else { next.min(self.expire_time) }
    }

    /// Every version so far, the oldest first: rebuilt from what never changes.
    #[must_use]
    pub fn versions(&self) -> Vec<Self> {
        let ended = (self.status != Status::New).then(|| self.clone());
        [self.as_placed()].into_iter().chain(self.as_cancel_requested()).chain(ended).collect()
    }
}
