//! The sums of accounts and ledger.

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, Statement};

/// The sums of one currency, in its minor units.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Sums {
    /// ISO 4217.
    pub currency_code: String,
    /// How many accounts are held in it.
    pub accounts: i64,
    /// What is on them.
    pub balances: i64,
    /// What came in.
    pub top_ups: i64,
    /// What was paid, as a positive number.
    pub debits: i64,
}

// One statement, so that all sums are of one moment.
const SUMS: &str = "
    SELECT currency_code, COUNT(*) AS accounts, CAST(SUM(balance) AS BIGINT) AS balances,
        CAST(COALESCE(SUM(top_ups), 0) AS BIGINT) AS top_ups, CAST(COALESCE(SUM(debits), 0) AS BIGINT) AS debits
    FROM accounts LEFT JOIN (
        SELECT user_id, SUM(CASE WHEN entry_type = 1 THEN amount ELSE 0 END) AS top_ups,
            SUM(CASE WHEN entry_type = 2 THEN -amount ELSE 0 END) AS debits
        FROM ledger_entries GROUP BY user_id
    ) AS booked ON booked.user_id = accounts.user_id
    GROUP BY currency_code ORDER BY currency_code";

/// The sums of every currency.
///
/// # Errors
/// As the database says; it refuses a sum past 2^63 - 1.
pub async fn sums(connection: &impl ConnectionTrait) -> Result<Vec<Sums>, DbErr> {
    let statement = Statement::from_string(connection.get_database_backend(), SUMS);
    Sums::find_by_statement(statement).all(connection).await
}
