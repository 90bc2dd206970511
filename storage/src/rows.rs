//! Rows in statements of bounded size.
//!
//! sqlx 0.9 leaves Nagle's algorithm on, and under TLS (its default wherever the server offers it) a statement whose bound
//! values pass 8 KiB goes out in several writes: the second waits for the server's delayed acknowledgement, 40 ms. Several
//! statements in one transaction do not.

use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait, Insert,
    IntoActiveModel, Iterable as _, PrimaryKeyTrait, TryInsertResult, Value, sea_query::OnConflict,
};

/// What the bound values of one statement may take: below 8 KiB with the protocol's own bytes.
const STATEMENT_BYTES: usize = 6 * 1_024;
/// The protocol's own bytes for each value: its length and its format.
const VALUE_OVERHEAD: usize = 6;

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

/// What a value takes on the wire.
#[must_use]
pub fn value_bytes(value: &Value) -> usize {
    VALUE_OVERHEAD
        + match value {
            Value::String(text) => text.as_ref().map_or(0, String::len),
            Value::Bytes(bytes) => bytes.as_ref().map_or(0, Vec::len),
            Value::Uuid(_) => 16,
            _ => 8,
        }
}

fn model_bytes<A: ActiveModelTrait>(model: &A) -> usize {
    <A::Entity as EntityTrait>::Column::iter()
        .map(|column| match model.get(column) {
            ActiveValue::Set(value) | ActiveValue::Unchanged(value) => value_bytes(&value),
            ActiveValue::NotSet => 0,
        })
        .sum()
}

/// Inserts every row, in as few statements as their size allows.
///
/// # Errors
/// As the database says; a violated constraint among them.
pub async fn insert<A>(transaction: &DatabaseTransaction, rows: &[A]) -> Result<(), DbErr>
where
    A: ActiveModelTrait + Clone,
{
    for run in statements(rows, model_bytes) {
        Insert::many(run.to_vec()).exec_without_returning(transaction).await?;
    }
    Ok(())
}

/// Inserts the rows that meet no unique key already there (nor one of another row of `rows`), and returns the primary keys of
/// those that were inserted.
///
/// # Errors
/// As the database says; other constraints among them.
pub async fn insert_new<A>(
    transaction: &DatabaseTransaction,
    rows: &[A],
) -> Result<Vec<<<A::Entity as EntityTrait>::PrimaryKey as PrimaryKeyTrait>::ValueType>, DbErr>
where
    A: ActiveModelTrait + Clone,
    <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    <A::Entity as EntityTrait>::Column: ColumnTrait,
{
    let mut inserted = Vec::with_capacity(rows.len());
    for run in statements(rows, model_bytes) {
        // Without a target: any unique key, not the primary one alone.
        let insert =
            Insert::many(run.to_vec()).on_conflict(OnConflict::new().do_nothing().to_owned()).try_insert();
        if let TryInsertResult::Inserted(keys) = insert.exec_with_returning_keys(transaction).await? {
            inserted.extend(keys);
        }
    }
    Ok(inserted)
}

/// A list of keys as one bound value, so that lists of every length are the same prepared statement.
#[derive(Debug)]
pub struct KeyList {
    /// The values: comma-separated text.
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
