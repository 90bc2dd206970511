//! One booking on an account: written once, never changed.

use sea_orm::entity::prelude::*;

/// What kind of booking it is; the numbers are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum EntryType {
    /// Money came in.
    TopUp = 1,
    /// An order was paid.
    OrderDebit = 2,
}

/// One ledger entry.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ledger_entries")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose account.
    pub user_id: String,
    /// 1, 2, 3 and so on, per account.
    pub sequence: i64,
    /// What kind of booking.
    pub entry_type: EntryType,
    /// In minor units: positive for a top-up, negative for a debit.
    pub amount: i64,
    /// The balance with this entry booked.
    pub balance_after: i64,
    /// The order that was paid.
    pub order_id: Option<Uuid>,
    /// The idempotency key of a top-up.
    pub request_id: Option<String>,
    /// What was asked with that key.
    pub fingerprint: Option<Vec<u8>>,
    /// The other side of the double entry.
    pub counter_account: String,
    /// In microseconds since the Unix epoch.
    pub create_time: i64,
    /// On whose behalf it was booked: see [`messaging::origin::Origin`]. It decides nothing.
    pub subject: Option<String>,
    /// The token of the request that caused it.
    pub token_id: Option<String>,
    /// The trace of that request.
    pub trace_id: Option<String>,
    /// Its header `X-Request-Id`.
    pub x_request_id: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
