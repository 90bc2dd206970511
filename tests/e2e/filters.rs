//! Filters of lists beside an evaluator of the test's own: every field, operator and value, and all pairs of them, on both databases.
//!
//! The rows are the test's, so it knows of each what a filter may ask for. To be without a value is to have the value `""` or UNSPECIFIED.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use ordermesh::{orders::v1::ListOrdersRequest, payments::v1::ListLedgerEntriesRequest};
use uuid::Uuid;
use world::{Postgres, Scratch};

use crate::alone::{self, NO_BROKER, Orders, Payments, run};

/// The moment of the first row, in seconds since the Unix epoch: 2026-01-01T00:00:00Z.
const FIRST: i64 = 1_767_225_600;
const OPERATORS: [&str; 6] = ["=", "!=", "<", "<=", ">", ">="];

/// A row as a filter sees it: what cannot be ordered is a text, empty without a value.
struct Row {
    id: Uuid,
    texts: Vec<(&'static str, String)>,
    amount: i64,
    second: i64,
}

/// A comparison, as text and as a judge of rows.
struct Comparison {
    text: String,
    field: &'static str,
    operator: &'static str,
    /// As text, or as a number of minor units or of seconds since the first row.
    value: Result<String, i64>,
}

impl Comparison {
    fn holds(&self, row: &Row) -> bool {
        match &self.value {
            Ok(value) => {
                let found = row.texts.iter().find(|(field, _)| *field == self.field);
                let equal = found.is_some_and(|(_, text)| text == value);
                equal == (self.operator == "=")
            }
            Err(value) => {
                let found = if self.field == "amount" { row.amount } else { row.second };
                match self.operator {
                    "=" => found == *value,
                    "!=" => found != *value,
                    "<" => found < *value,
                    "<=" => found <= *value,
                    ">" => found > *value,
                    _ => found >= *value,
                }
            }
        }
    }
}

/// Every comparison with these values of fields that have no order, and by these amounts.
fn comparisons(texts: &[(&'static str, Vec<String>)], amounts: &[i64]) -> Vec<Comparison> {
    let mut comparisons = Vec::new();
    for (field, values) in texts {
        for (value, operator) in values.iter().flat_map(|value| ["=", "!="].map(|operator| (value, operator)))
        {
            let text = format!("{field} {operator} \"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
            let value = if value.ends_with("UNSPECIFIED") { String::new() } else { value.clone() };
            comparisons.push(Comparison { text, field, operator, value: Ok(value) });
        }
    }
    for operator in OPERATORS {
        for amount in amounts {
            let text = format!("amount {operator} {amount}");
            comparisons.push(Comparison { text, field: "amount", operator, value: Err(*amount) });
        }
        for second in [-1_i64, 0, 3, 100] {
            let (minute, rest) = (second.div_euclid(60), second.rem_euclid(60));
            let text = match minute {
                -1 => format!("create_time {operator} 2025-12-31T23:59:{rest:02}Z"),
                minute => format!("create_time {operator} 2026-01-01T00:{minute:02}:{rest:02}Z"),
            };
            comparisons.push(Comparison { text, field: "create_time", operator, value: Err(second) });
        }
    }
    comparisons
}

/// Asks by each comparison, and by each pair of them.
async fn ask(
    rows: &[Row],
    comparisons: &[Comparison],
    mut list: impl AsyncFnMut(String) -> Result<BTreeSet<Uuid>>,
) -> Result<()> {
    let alone = comparisons.iter().map(|one| vec![one]);
    let pairs = comparisons.iter().flat_map(|one| comparisons.iter().map(move |other| vec![one, other]));
    let mut found = 0;
    for asked in alone.chain(pairs) {
        let filter =
            asked.iter().map(|comparison| comparison.text.as_str()).collect::<Vec<_>>().join(" AND ");
        let expected: BTreeSet<Uuid> = rows
            .iter()
            .filter(|row| asked.iter().all(|comparison| comparison.holds(row)))
            .map(|row| row.id)
            .collect();
        let listed = list(filter.clone()).await?;
        ensure!(listed == expected, "{filter}: {} rows, not {}", listed.len(), expected.len());
        found += expected.len();
    }
    ensure!(found > rows.len() * comparisons.len() / 4, "{found} rows are no comparison");
    Ok(())
}

#[tokio::test]
async fn orders_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("filters")?;
    orders(&format!("sqlite:{}", scratch.path().join("orders.db").display())).await
}

#[tokio::test]
async fn orders_on_postgresql() -> Result<()> {
    orders(&Postgres::start().await?.fresh_database().await?).await
}

#[tokio::test]
async fn entries_on_sqlite() -> Result<()> {
    let scratch = Scratch::new("filters")?;
    entries(&format!("sqlite:{}", scratch.path().join("payments.db").display())).await
}

#[tokio::test]
async fn entries_on_postgresql() -> Result<()> {
    let postgres = Postgres::start().await?;
    entries(&postgres.fresh_database().await?).await
}

/// An id that begins with the moment of a second, as both databases write it.
fn id(url: &str, second: i64, number: usize) -> (Uuid, String) {
    let millis = u128::from((FIRST + second).unsigned_abs()) * 1_000;
    let id = Uuid::from_u128(millis << 80 | 7 << 76 | 2 << 62 | number as u128);
    (id, literal(url, id))
}

fn literal(url: &str, id: Uuid) -> String {
    if url.starts_with("sqlite") { format!("x'{}'", id.simple()) } else { format!("'{id}'") }
}

fn text(value: &str) -> String {
    if value.is_empty() { "NULL".to_owned() } else { format!("'{value}'") }
}

async fn orders(url: &str) -> Result<()> {
    let mut process = alone::program("orders", url, NO_BROKER)?.start()?;
    let client = alone::orders(&mut process).await?;
    let reasons = [
        "",
        "INSUFFICIENT_FUNDS",
        "ACCOUNT_NOT_FOUND",
        "CURRENCY_MISMATCH",
        "USER_REQUESTED",
        "PAYMENT_EXPIRED",
    ];
    let mut rows = Vec::new();
    let keys = ["", "k", "a \"b\" \\c"];
    for (number, (reason, key)) in
        (0..8).flat_map(|state| keys.iter().map(move |key| (state, key))).enumerate()
    {
        // 0 is NEW, 1 FINISHED, the others CANCELLED for each reason.
        let (status, status_name, reason) = match reason {
            0 => (1, "NEW", 0),
            1 => (2, "FINISHED", 0),
            cancelled => (3, "CANCELLED", (cancelled - 2) % 5 + 1),
        };
        let (amount, second) = (1 + i64::try_from(number % 4)?, i64::try_from(number % 7)?);
        let (id, own) = id(url, second, number);
        let at = (FIRST + second) * 1_000_000;
        let entry = if status == 2 { own.clone() } else { "NULL".to_owned() };
        let cancel = if reason == 4 { at.to_string() } else { "NULL".to_owned() };
        let version = 1 + i32::from(status != 1) + i32::from(reason == 4);
        let (code, key) = (if reason == 0 { "NULL".into() } else { reason.to_string() }, key.to_string());
        let (key_text, print) = (text(&key), if key.is_empty() { "NULL".into() } else { literal(url, id) });
        let print = if url.starts_with("postgres") && !key.is_empty() { "'\\x00'".into() } else { print };
        let insert = format!(
            "INSERT INTO orders (id, user_id, amount, currency_code, description, status, cancel_reason, create_time,
                update_time, expire_time, cancel_request_time, void_due_time, ask_due_time, version, change_number, ledger_entry_id,
                request_id, fingerprint)
             VALUES ({own}, 'user-{number}', {amount}, 'RUB', '', {status}, {code}, {at}, {at}, {at}, {cancel},
                9000000000000000, 9000000000000000, {version}, 0, {entry}, {key_text}, {print})"
        );
        run(url, &insert).await?;
        let texts = vec![
            ("status", status_name.to_owned()),
            ("cancel_reason", reasons[reason].to_owned()),
            ("request_id", key),
        ];
        rows.push(Row { id, texts, amount, second });
    }
    let owned = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    let texts = [
        ("status", owned(&["STATUS_UNSPECIFIED", "NEW", "FINISHED", "CANCELLED"])),
        ("cancel_reason", owned(&["CANCEL_REASON_UNSPECIFIED", "ACCOUNT_NOT_FOUND", "USER_REQUESTED"])),
        ("request_id", owned(&["", "k", keys[2], "another"])),
    ];
    ask(&rows, &comparisons(&texts, &[0, 1, 3]), async |filter| list_orders(&client, filter).await).await
}

async fn list_orders(client: &Orders, filter: String) -> Result<BTreeSet<Uuid>> {
    let request = ListOrdersRequest { page_size: 1_000, filter, ..ListOrdersRequest::default() };
    let listed = client.clone().list_orders(request).await?.into_inner();
    Ok(listed.orders.iter().map(|order| order.id.parse()).collect::<Result<_, _>>()?)
}

async fn entries(url: &str) -> Result<()> {
    let mut process = alone::program("payments", url, NO_BROKER)?.start()?;
    let client = alone::payments(&mut process).await?;
    let account = "INSERT INTO accounts (user_id, balance, currency_code, version, create_time, update_time)
        VALUES ('alice', 1000, 'RUB', 24, 0, 0)";
    run(url, account).await?;
    let (mut rows, mut of_orders) = (Vec::new(), Vec::new());
    for number in 0..24 {
        let (second, is_debit) = (i64::try_from(number % 7)?, number % 3 == 0);
        let amount = (1 + i64::try_from(number % 4)?) * if is_debit { -1 } else { 1 };
        let (id, own) = id(url, second, number);
        let key = if is_debit || number % 2 == 0 { String::new() } else { format!("k{number}") };
        let print = match (key.is_empty(), url.starts_with("postgres")) {
            (true, _) => "NULL".to_owned(),
            (false, true) => "'\\x00'".to_owned(),
            (false, false) => "x'00'".to_owned(),
        };
        let order = if is_debit { own.clone() } else { "NULL".to_owned() };
        let (kind, counter) = if is_debit { (2, "system:order-revenue") } else { (1, "system:cash-in") };
        let insert = format!(
            "INSERT INTO ledger_entries (id, user_id, sequence, entry_type, amount, balance_after, order_id, request_id,
                fingerprint, counter_account, create_time)
             VALUES ({own}, 'alice', {}, {kind}, {amount}, 1000, {order}, {}, {print}, '{counter}', {})",
            number + 1,
            text(&key),
            (FIRST + second) * 1_000_000
        );
        run(url, &insert).await?;
        let of_order = if is_debit { id.to_string() } else { String::new() };
        if is_debit {
            of_orders.push(of_order.clone());
        }
        let kind = if is_debit { "ORDER_DEBIT" } else { "TOP_UP" };
        let texts = vec![("type", kind.to_owned()), ("order_id", of_order), ("request_id", key)];
        rows.push(Row { id, texts, amount, second });
    }
    let owned = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    let texts = [
        ("type", owned(&["TYPE_UNSPECIFIED", "TOP_UP", "ORDER_DEBIT"])),
        ("order_id", owned(&["", of_orders[0].as_str(), of_orders[3].as_str()])),
        ("request_id", owned(&["", "k1", "k5", "another"])),
    ];
    ask(&rows, &comparisons(&texts, &[-2, 0, 3]), async |filter| list_entries(&client, filter).await).await
}

async fn list_entries(client: &Payments, filter: String) -> Result<BTreeSet<Uuid>> {
    let user_id = "alice".to_owned();
    let request =
        ListLedgerEntriesRequest { user_id, page_size: 1_000, filter, ..ListLedgerEntriesRequest::default() };
    let listed = client.clone().list_ledger_entries(request).await?.into_inner();
    Ok(listed.entries.iter().map(|entry| entry.id.parse()).collect::<Result<_, _>>()?)
}
