//! The rows of a rehearsal, from what the database has noted.

use std::collections::HashMap;

use serde_json::Value;

/// What a rehearsal knows of the rows that it has changed.
#[derive(Default)]
pub(super) struct Known {
    /// The columns of primary keys, by the tables.
    pub(super) keys: HashMap<String, Vec<String>>,
    /// The rows as they are by now, by table and key; `None` for one that is gone.
    pub(super) rows: HashMap<(String, String), Option<Value>>,
}

/// A row before and after a change, as JSON by the names of its columns: bytes in hexadecimal digits behind `\x`, as PostgreSQL writes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The table.
    pub table: String,
    /// The primary key; the values of several columns are joined by `, `.
    pub key: String,
    /// The row as it was; `None` for a new one.
    pub before: Option<Value>,
    /// The row as it is in the rehearsal; `None` when it is gone.
    pub after: Option<Value>,
}

/// A row as the database has noted it.
pub(super) struct Noted {
    pub(super) table: String,
    /// `None` where the database does not say, and for a row that was not there.
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
    /// Whether the row was there before, with what `before` does not say.
    pub(super) was_there: bool,
}

impl Known {
    /// The key of a row of a table.
    pub(super) fn key(&self, table: &str, row: &Value) -> String {
        let columns = self.keys.get(table).map(Vec::as_slice).unwrap_or_default();
        let text = |column: &String| match &row[column] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        columns.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    /// Makes changes of what was noted.
    pub(super) fn take_in(&mut self, noted: Vec<Noted>) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        let mut places: HashMap<(String, String), usize> = HashMap::new();
        for Noted { table, before, after, .. } in noted {
            let Some(row) = after.as_ref().or(before.as_ref()) else { continue };
            let key = self.key(&table, row);
            let place = (table, key);
            let latest = self.rows.insert(place.clone(), after.clone());
            let before = before.or_else(|| latest.flatten());
            match places.get(&place) {
                Some(at) => changes[*at].after = after,
                None => {
                    places.insert(place.clone(), changes.len());
                    let (table, key) = place;
                    changes.push(Change { table, key, before, after });
                }
            }
        }
        changes
    }
}
