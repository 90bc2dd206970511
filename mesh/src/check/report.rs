//! What was found, as a table for a person or as a line of JSON for a machine.

use std::io::{IsTerminal as _, Result, Write as _, stderr, stdout};

use serde_json::{Value, json};

use super::{books::Books, invariants::Finding};

/// Offenders that are shown of each invariant.
const FIRST: usize = 10;

/// A line for each invariant, and below it its first offenders.
pub(super) fn table(findings: &[Finding], books: &Books) -> Result<()> {
    if stderr().is_terminal() {
        write!(stderr(), "\r\x1b[K")?;
    }
    let mut out = stdout().lock();
    let entries: usize = books.entries.values().map(Vec::len).sum();
    let (orders, accounts) = (books.orders.len(), books.accounts.len());
    writeln!(out, "{orders} orders, {accounts} accounts, {entries} ledger entries")?;
    for Finding { id, rule, offenders } in findings {
        let word =
            if offenders.is_empty() { "holds".to_owned() } else { format!("BROKEN: {}", offenders.len()) };
        writeln!(out, "{id:<4} {rule:<52} {word}")?;
        for offender in offenders.iter().take(FIRST) {
            writeln!(out, "       {offender}")?;
        }
    }
    writeln!(out, "I10, I12 and I14 concern calls under way: they cannot be seen at rest")
}

/// One object: counts, and each invariant with its first offenders.
pub(super) fn json(findings: &[Finding], books: &Books) -> Result<()> {
    let invariants: Vec<Value> = findings
        .iter()
        .map(|Finding { id, rule, offenders }| {
            let first: Vec<&String> = offenders.iter().take(FIRST).collect();
            json!({ "id": id, "rule": rule, "broken": offenders.len(), "first": first })
        })
        .collect();
    let entries: usize = books.entries.values().map(Vec::len).sum();
    let report = json!({
        "orders": books.orders.len(),
        "accounts": books.accounts.len(),
        "entries": entries,
        "invariants": invariants,
    });
    writeln!(stdout(), "{report}")
}
