//! Many values as few: the text of an array for PostgreSQL, a list of placeholders or JSON for SQLite.

use std::fmt::Write as _;

use sea_orm::{DbBackend, DbErr, Value, entity::prelude::ColumnType};

use super::is_postgres;

/// Rows that a statement can read, as `FROM {sql}`.
#[derive(Debug)]
pub struct Table {
    /// Its definition with the alias; its columns are called `column1`, `column2` and so on.
    pub sql: String,
    /// The values, which are the first of the statement: what is bound behind them is called `$n`.
    pub values: Vec<Value>,
    /// PostgreSQL: the type of the array that is bound as `$1`.
    keys: Option<String>,
}

impl Table {
    /// The condition that `key` is the first value of one of the rows.
    #[must_use]
    pub fn has(&self, key: &str) -> String {
        match &self.keys {
            Some(kind) => format!("{key} = ANY (CAST($1 AS {kind}[]))"),
            None => format!("{key} IN (SELECT column1 FROM {})", self.sql),
        }
    }
}

/// A table of these rows, called `alias`, whose columns have these types of PostgreSQL.
///
/// # Errors
/// For a value of another kind than texts, integers, bytes and UUIDs.
pub fn table(
    backend: DbBackend,
    alias: &str,
    types: &[&str],
    rows: impl IntoIterator<Item = impl AsRef<[Value]>>,
) -> Result<Table, DbErr> {
    if is_postgres(backend) {
        let mut arrays = vec![String::from("{"); types.len()];
        for row in rows {
            for (array, value) in arrays.iter_mut().zip(row.as_ref()) {
                push(array, value)?;
            }
        }
        return Ok(unnested(alias, types, arrays));
    }
    // Placeholders without a name: of each that has one sqlx asks SQLite for it, which looks through all names for the answer.
    let (mut list, mut values) = (String::new(), Vec::new());
    for row in rows {
        list += if list.is_empty() { "(" } else { "), (" };
        for (at, value) in row.as_ref().iter().enumerate() {
            values.push(value.clone());
            list += if at == 0 { "?" } else { ", ?" };
        }
    }
    let sql = format!("(VALUES {list})) AS {alias}");
    Ok(Table { sql, values, keys: None })
}

fn unnested(alias: &str, types: &[&str], arrays: Vec<String>) -> Table {
    let columns = types.iter().enumerate().map(|(at, kind)| (at + 1, kind));
    let list: Vec<String> =
        columns.clone().map(|(number, kind)| format!("CAST(${number} AS {kind}[])")).collect();
    let names: Vec<String> = columns.map(|(number, _)| format!("column{number}")).collect();
    let sql = format!("unnest({}) AS {alias} ({})", list.join(", "), names.join(", "));
    let values = arrays.into_iter().map(|array| (array + "}").into()).collect();
    Table { sql, values, keys: types.first().map(ToString::to_string) }
}

/// As [`table`], for rows that are to be joined with those of a real table, each by an index.
///
/// PostgreSQL does not know how many rows there will be when it makes a plan. For a limit that it does not know either it takes a tenth
/// (`preprocess_limit` in planner.c), which is a single row: so no plan is cheaper than to look that one up, however small
/// the real table was then.
///
/// # Errors
/// As [`table`].
pub fn lookup(
    backend: DbBackend,
    alias: &str,
    types: &[&str],
    rows: impl ExactSizeIterator<Item = impl AsRef<[Value]>>,
) -> Result<Table, DbErr> {
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let mut table = table(backend, alias, types, rows)?;
    if is_postgres(backend) {
        table.values.push(count.into());
        table.sql = format!("(SELECT * FROM {} LIMIT ${}) AS {alias}", table.sql, table.values.len());
    }
    Ok(table)
}

/// A list of keys as one bound value, so that lists of every length are the same prepared statement.
#[derive(Debug)]
pub struct KeyList {
    /// The values.
    pub value: Value,
    /// What goes behind `column` in the condition, with the value bound as `$1`.
    pub condition: &'static str,
}

/// The condition that a column is one of `keys`, for 64-bit keys.
#[must_use]
pub fn one_of(backend: DbBackend, keys: &[i64]) -> KeyList {
    let text = keys.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let condition = match backend {
        DbBackend::Sqlite => "IN (SELECT value FROM json_each('[' || $1 || ']'))",
        _ => "= ANY(string_to_array($1, ',')::bigint[])",
    };
    KeyList { value: text.into(), condition }
}

/// The type of PostgreSQL that a column of an entity has.
pub(super) fn type_name(kind: &ColumnType) -> Result<&'static str, DbErr> {
    Ok(match kind {
        ColumnType::Uuid => "uuid",
        ColumnType::Char(_) | ColumnType::String(_) | ColumnType::Text => "text",
        ColumnType::SmallInteger => "smallint",
        ColumnType::Integer => "integer",
        ColumnType::BigInteger => "bigint",
        ColumnType::Binary(_) | ColumnType::VarBinary(_) | ColumnType::Blob => "bytea",
        other => return Err(DbErr::Type(format!("{other:?} cannot be bound in an array"))),
    })
}

/// Adds an element to the text of an array (PostgreSQL, chapter 8.15.2: quotes and backslashes are escaped inside of quotes).
pub(super) fn push(array: &mut String, value: &Value) -> Result<(), DbErr> {
    if array.len() > 1 {
        array.push(',');
    }
    match value {
        Value::SmallInt(Some(number)) => display(array, number),
        Value::Int(Some(number)) => display(array, number),
        Value::BigInt(Some(number)) => display(array, number),
        Value::Uuid(Some(id)) => display(array, id),
        Value::String(Some(text)) => quote(array, text),
        Value::Bytes(Some(bytes)) => hexadecimal(array, bytes),
        Value::SmallInt(None)
        | Value::Int(None)
        | Value::BigInt(None)
        | Value::Uuid(None)
        | Value::String(None)
        | Value::Bytes(None) => array.push_str("NULL"),
        other => return Err(DbErr::Type(format!("{other:?} cannot be bound in an array"))),
    }
    Ok(())
}

fn display(array: &mut String, value: &impl std::fmt::Display) {
    // Writing into a string cannot fail.
    let _written = write!(array, "{value}");
}

fn quote(array: &mut String, text: &str) {
    array.push('"');
    for part in text.split_inclusive(['"', '\\']) {
        match part.strip_suffix(['"', '\\']) {
            Some(plain) => {
                array.push_str(plain);
                array.push('\\');
                array.push_str(&part[plain.len()..]);
            }
            None => array.push_str(part),
        }
    }
    array.push('"');
}

fn hexadecimal(array: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    array.push_str("\"\\\\x");
    for byte in bytes {
        array.push(char::from(DIGITS[usize::from(byte >> 4)]));
        array.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    array.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_what_postgresql_reads() {
        let mut array = String::from("{");
        for value in [
            Value::from("plain"),
            Value::from(r#"a"b\c,{}"#),
            Value::String(None),
            Value::from("NULL"),
            Value::from(vec![0_u8, 255]),
            Value::from(-7_i64),
        ] {
            push(&mut array, &value).expect("a known kind");
        }
        assert_eq!(array, r#"{"plain","a\"b\\c,{}",NULL,"NULL","\\x00ff",-7"#);
        push(&mut array, &Value::from(true)).expect_err("a kind that nobody stores");
    }
}
