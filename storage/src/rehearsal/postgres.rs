//! What a rehearsal on PostgreSQL has noted. The rows before a change are read from outside of it: they are those that were committed, and
//! the rehearsal holds them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use serde_json::Value;

use super::rows::{Known, Noted};
use crate::transaction::Transaction;

/// Of a primary key the columns in their order.
const KEY: &str = "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid \
     AND a.attnum = ANY (i.indkey) WHERE i.indrelid = to_regclass($1) AND i.indisprimary \
     ORDER BY array_position(i.indkey::int2[], a.attnum)";

pub(super) async fn begin(transaction: &Transaction) -> Result<(), DbErr> {
    transaction.execute_unprepared("SELECT set_config('ordermesh.noted', '', true)").await.map(drop)
}

/// What was noted since this was called before.
pub(super) async fn noted(transaction: &Transaction) -> Result<Vec<Noted>, DbErr> {
    let take = "WITH noted AS MATERIALIZED (SELECT current_setting('ordermesh.noted') AS lines) \
                SELECT lines, set_config('ordermesh.noted', '', true) FROM noted";
    let row = transaction.query_one_raw(Statement::from_string(DbBackend::Postgres, take)).await?;
    let lines: String = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default();
    lines.lines().map(read).collect()
}

fn read(line: &str) -> Result<Noted, DbErr> {
    let malformed = |error: serde_json::Error| DbErr::Type(format!("a note of a rehearsal: {error}"));
    let (table, verb, row): (String, String, Value) = serde_json::from_str(line).map_err(malformed)?;
    Ok(match verb.as_str() {
        "DELETE" => Noted { table, before: Some(row), after: None, was_there: true },
        // An INSERT may have come to an UPDATE.
        _ => Noted { table, before: None, after: Some(row), was_there: true },
    })
}

/// Finds the keys of the tables of these rows.
pub(super) async fn find_keys(
    connection: &impl ConnectionTrait,
    noted: &[Noted],
    keys: &mut HashMap<String, Vec<String>>,
) -> Result<(), DbErr> {
    let tables: BTreeSet<&String> = noted.iter().map(|row| &row.table).collect();
    for table in tables {
        if keys.contains_key(table) {
            continue;
        }
        let find = Statement::from_sql_and_values(DbBackend::Postgres, KEY, [table.as_str().into()]);
        let columns = connection.query_all_raw(find).await?;
        let columns = columns.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
        keys.insert(table.clone(), columns);
    }
    Ok(())
}

/// Reads the rows that are committed, of those that have changed and are not known.
pub(super) async fn find_before(
    committed: &impl ConnectionTrait,
    noted: &[Noted],
    known: &mut Known,
) -> Result<(), DbErr> {
    let mut unknown: BTreeMap<&String, BTreeMap<String, &Value>> = BTreeMap::new();
    for Noted { table, before, after, was_there } in noted {
        let (Some(row), None, true) = (after, before, *was_there) else { continue };
        let key = known.key(table, row);
        if !known.rows.contains_key(&(table.clone(), key.clone())) {
            unknown.entry(table).or_default().insert(key, row);
        }
    }
    for (table, rows) in unknown {
        let columns = known.keys.get(table).cloned().unwrap_or_default();
        if columns.is_empty() {
            continue;
        }
        let same: Vec<String> =
            columns.iter().map(|column| format!("present.\"{column}\" = sought.\"{column}\"")).collect();
        let sql = format!(
            "SELECT to_jsonb(present.*)::text FROM jsonb_populate_recordset(NULL::\"{table}\", CAST($1 AS jsonb)) \
             AS sought JOIN \"{table}\" AS present ON {}",
            same.join(" AND ")
        );
        let sought = Value::Array(rows.values().map(|row| (*row).clone()).collect()).to_string();
        let find = Statement::from_sql_and_values(DbBackend::Postgres, sql, [sought.into()]);
        for found in committed.query_all_raw(find).await? {
            let text: String = found.try_get_by_index(0)?;
            let row: Value = serde_json::from_str(&text).map_err(|error| DbErr::Type(error.to_string()))?;
            let key = known.key(table, &row);
            known.rows.insert((table.clone(), key), Some(row));
        }
    }
    Ok(())
}
