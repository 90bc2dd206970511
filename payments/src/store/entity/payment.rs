//! The decision about the payment of one order: made once, never changed.

use sea_orm::entity::prelude::*;

/// What was decided; the numbers are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum Outcome {
    /// The account was debited.
    Paid = 1,
    /// It could not be paid.
    Rejected = 2,
    /// It was cancelled before it was paid.
    Voided = 3,
}

/// Why it was not paid; the numbers are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum Reason {
    /// The balance was below the amount.
    InsufficientFunds = 1,
    /// The user had no account.
    AccountNotFound = 2,
    /// The account is held in another currency.
    CurrencyMismatch = 3,
    /// The user asked for the cancellation.
    UserRequested = 4,
    /// The order expired.
    PaymentExpired = 5,
}

/// One decision, with its proof.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "payments")]
pub struct Model {
    /// The order that asked for it: one decision each.
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: Uuid,
    /// Whose account was asked.
    pub user_id: String,
    /// In minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency_code: String,
    /// What was decided.
    pub outcome: Outcome,
    /// Why it was not paid.
    pub reason: Option<Reason>,
    /// The version of the account decided on; when paid, the sequence of the debit.
    pub account_version: Option<i64>,
    /// The balance decided on, before the debit.
    pub balance_observed: Option<i64>,
    /// The debit.
    pub ledger_entry_id: Option<Uuid>,
    /// In microseconds since the Unix epoch.
    pub decide_time: i64,
}

impl ActiveModelBehavior for ActiveModel {}
