//! The account of one user.

use sea_orm::entity::prelude::*;

/// One account. Its balance is the sum of its ledger entries, and its version the sequence of the last.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "accounts")]
pub struct Model {
    /// One account per user.
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: String,
    /// In minor units, 0 to 2^53 - 1.
    pub balance: i64,
    /// ISO 4217. It never changes.
    pub currency_code: String,
    /// The sequence of the last ledger entry; 0 before the first.
    pub version: i64,
    /// In microseconds since the Unix epoch.
    pub create_time: i64,
    /// In microseconds since the Unix epoch.
    pub update_time: i64,
    /// The idempotency key that it was opened with.
    pub request_id: Option<String>,
    /// What was asked with that key.
    pub fingerprint: Option<Vec<u8>>,
}

impl ActiveModelBehavior for ActiveModel {}
