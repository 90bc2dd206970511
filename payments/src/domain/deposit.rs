//! A deposit, and why it may be refused.

use messaging::origin::Origin;

/// Money that comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    /// Whose account.
    pub user_id: String,
    /// In minor units, 1 to 10^12.
    pub amount: i64,
    /// ISO 4217.
    pub currency_code: String,
    /// The idempotency key.
    pub request_id: Option<String>,
    /// The versions that the account may have; `None` for any.
    pub versions: Option<Vec<i64>>,
    /// The fingerprint of the request with that key.
    pub fingerprint: [u8; 32],
    /// On whose behalf it is made.
    pub origin: Origin,
}

/// Why a deposit is not booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The user has no account.
    NoAccount,
    /// The account has this version, and the deposit is for another one.
    OtherVersion(i64),
    /// The account is held in this currency, and the deposit in another one.
    OtherCurrency(String),
    /// The balance would pass [`BALANCE_MAX`](ordermesh::rules::BALANCE_MAX).
    BalanceLimit,
}
