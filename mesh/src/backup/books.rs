//! Whether the copies are whole, and the books in them right: both services at one instant.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use rusqlite::{Connection, OpenFlags};

/// What must not be in the books of payments, and how it is found.
const WRONG: [(&str, &str); 5] = [
    (
        "balances that are not the sum of their entries",
        "SELECT COUNT(*) FROM accounts WHERE balance <> (SELECT COALESCE(SUM(amount), 0) FROM ledger_entries \
         WHERE ledger_entries.user_id = accounts.user_id)",
    ),
    (
        "ledgers with gaps",
        "SELECT COUNT(*) FROM accounts WHERE version <> (SELECT COUNT(*) FROM ledger_entries \
         WHERE ledger_entries.user_id = accounts.user_id AND sequence <= accounts.version)",
    ),
    (
        "payments without their debits",
        "SELECT COUNT(*) FROM payments LEFT JOIN ledger_entries ON ledger_entries.id = ledger_entry_id \
         WHERE outcome = 1 AND (ledger_entries.order_id IS NOT payments.order_id OR ledger_entries.amount IS NOT -payments.amount)",
    ),
    (
        "debits without their payments",
        "SELECT COUNT(*) FROM ledger_entries LEFT JOIN payments ON ledger_entry_id = ledger_entries.id \
         WHERE entry_type = 2 AND payments.order_id IS NULL",
    ),
    ("foreign keys to nothing", "SELECT COUNT(*) FROM pragma_foreign_key_check"),
];

/// What differs between orders and payments at one instant. It was so before the backup, and reconciliation lists it.
const DIFFERENT: [&str; 3] = [
    // An order is committed before its decision, and the decision before its end.
    "SELECT COUNT(*) FROM payments LEFT JOIN orders.orders ON orders.id = payments.order_id WHERE orders.id IS NULL",
    "SELECT COUNT(*) FROM orders.orders LEFT JOIN payments ON payments.order_id = orders.id \
     WHERE status = 2 AND orders.ledger_entry_id IS NOT payments.ledger_entry_id",
    "SELECT COUNT(*) FROM orders.orders LEFT JOIN payments ON payments.order_id = orders.id \
     WHERE status = 3 AND cancel_reason IS NOT payments.reason",
];

/// Verifies two copies together, and returns what they hold, for a person.
///
/// # Errors
/// With everything that is wrong.
pub(super) fn verify(orders: &Path, payments: &Path) -> anyhow::Result<String> {
    for file in [orders, payments] {
        whole(file)?;
    }
    let books = read_only(payments)?;
    let orders = orders.to_str().context("the path of a backup has to be UTF-8")?;
    books.execute("ATTACH DATABASE ?1 AS orders", [orders])?;
    let count = |sql: &str| books.query_row(sql, [], |row| row.get::<_, i64>(0)).context(sql.to_owned());
    let mut wrong = Vec::new();
    for (what, sql) in WRONG {
        let found = count(sql)?;
        if found > 0 {
            wrong.push(format!("{found} {what}"));
        }
    }
    ensure!(wrong.is_empty(), "the books are wrong: {}", wrong.join(", "));
    let mut differ = 0;
    for sql in DIFFERENT {
        differ += count(sql)?;
    }
    let [orders, accounts, entries, waiting] = [
        "SELECT COUNT(*) FROM orders.orders",
        "SELECT COUNT(*) FROM accounts",
        "SELECT COUNT(*) FROM ledger_entries",
        "SELECT (SELECT COUNT(*) FROM orders.outbox) + (SELECT COUNT(*) FROM main.outbox)",
    ]
    .map(count);
    let (orders, accounts, entries, waiting) = (orders?, accounts?, entries?, waiting?);
    Ok(format!(
        "{orders} orders, {accounts} accounts, {entries} ledger entries, {waiting} messages on their way; verified, and {differ} \
         orders differ between orders and payments"
    ))
}

/// Checks the pages and indexes of a database.
fn whole(file: &Path) -> anyhow::Result<()> {
    let copy = read_only(file)?;
    let said: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        bail!("{} is damaged: {said}", file.display());
    }
    Ok(())
}

fn read_only(file: &Path) -> anyhow::Result<Connection> {
    let opened = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE);
    let opened = opened.with_context(|| format!("cannot open {}", file.display()))?;
    opened.pragma_update(None, "query_only", true)?;
    Ok(opened)
}
