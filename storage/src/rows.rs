//! Rows in statements of bounded size.
//!
//! sqlx 0.9 leaves Nagle's algorithm on, and under TLS (its default wherever the server offers it) a statement that passes
//! 16 KiB, a record of TLS, goes out in several writes: the second waits for the server's delayed acknowledgement, 40 ms. Several
//! statements in one transaction do not.
//!
//! On PostgreSQL rows are bound column by column, each as the text of an array: batches of every size are one prepared statement,
//! which is planned once. SQLite has no arrays, and gets a list of values.

mod array;
mod given;
mod insert;
mod together;

use sea_orm::{DbBackend, EntityTrait, IdenStatic as _, Iterable as _, Value};

pub use self::{
    array::{KeyList, Table, lookup, one_of, table},
    insert::{Pairs, insert, insert_new, inserts, inserts_of_new},
    together::{Write, write},
};

/// What the bound values of one statement may take: below 16 KiB with the protocol's own bytes.
const STATEMENT_BYTES: usize = 14 * 1_024;

/// The columns of an entity, for a SELECT of whole rows in place of `*`.
///
/// A newer version may add a column while this one runs. A prepared `SELECT *` would have other columns then: PostgreSQL refuses it
/// (`0A000`), and sqlx 0.9 panics in the thread that SQLite has, whose answer is then that there are no rows.
#[must_use]
pub fn columns<E: EntityTrait>() -> String {
    let names: Vec<&str> = E::Column::iter().map(|column| column.as_str()).collect();
    names.join(", ")
}

/// Cuts `items` into runs that each fit a statement; an item that is larger stands alone.
pub fn statements<T>(items: &[T], bytes: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut runs = Vec::new();
    let (mut start, mut filled) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        let size = bytes(item);
        if at > start && filled + size > STATEMENT_BYTES {
            runs.push(&items[start..at]);
            (start, filled) = (at, 0);
        }
        filled += size;
    }
    if start < items.len() {
        runs.push(&items[start..]);
    }
    runs
}

/// What a value takes on the wire, at most: in the text of an array, or by itself with its length and format.
#[must_use]
pub fn value_bytes(value: &Value) -> usize {
    /// Quotes, and the comma behind it.
    const AROUND: usize = 6;
    match value {
        Value::String(Some(text)) => text.len() + escaped(text) + AROUND,
        Value::Bytes(Some(bytes)) => 2 * bytes.len() + AROUND,
        Value::Uuid(Some(_)) => 36 + 1,
        Value::SmallInt(Some(number)) => digits((*number).into()) + 1,
        Value::Int(Some(number)) => digits((*number).into()) + 1,
        Value::BigInt(Some(number)) => digits(*number) + 1,
        _ => "NULL,".len(),
    }
}

/// How many characters are escaped inside of quotes.
fn escaped(text: &str) -> usize {
    // The runs are so short that a byte can count them, which lets the compiler take many at once.
    let of_run = |run: &[u8]| run.iter().map(|byte| u8::from(matches!(byte, b'"' | b'\\'))).sum::<u8>();
    text.as_bytes().chunks(usize::from(u8::MAX)).map(|run| usize::from(of_run(run))).sum()
}

fn digits(number: i64) -> usize {
    let digits = number.unsigned_abs().checked_ilog10().map_or(1, |log| log as usize + 1);
    digits + usize::from(number < 0)
}

fn is_postgres(backend: DbBackend) -> bool {
    backend == DbBackend::Postgres
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_fit_a_statement_and_keep_everything_in_order() {
        let items: Vec<usize> = (0..1_000).map(|n| n % 700).chain([20_000, 1]).collect();
        let runs = statements(&items, |size| *size);
        assert_eq!(runs.concat(), items);
        for run in &runs {
            assert!(run.iter().sum::<usize>() <= STATEMENT_BYTES || run.len() == 1);
        }
        assert!(statements(&[] as &[usize], |size| *size).is_empty());
    }
}
