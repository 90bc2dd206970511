//! The table `orders`.

use sea_orm::entity::prelude::*;

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
    /// On whose behalf it was placed: see [`messaging::origin::Origin`]. It decides nothing.
    pub subject: Option<String>,
    /// The token that the request came with.
    pub token_id: Option<String>,
    /// The header `X-Request-Id` that the request came with.
    pub x_request_id: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
