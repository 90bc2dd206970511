//! One order.

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
    /// 1 when placed, one more with every change.
    pub version: i64,
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
            version: 1,
            ledger_entry_id: None,
            ..self.clone()
        }
    }
}
