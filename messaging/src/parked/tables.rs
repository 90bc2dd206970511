//! Parked messages for unit tests, on SQLite.

use sea_orm_migration::{MigrationTrait, MigratorTrait};
use storage::{Database, DatabaseUrl, Limits};
use uuid::Uuid;
use world::Scratch;

use super::State;
use crate::schema::{
    COUNTED_REDRIVES, COUNTED_REPEATS, KEPT_ACTIONS, KEPT_CALLS, KEPT_ORDER, KEPT_ORIGINS, KEPT_PAUSES,
    KEPT_PROCESSES, KEPT_REPORTS, KEPT_REQUESTS, MESSAGING_TABLES, PARKED_OPERATIONS, WHOLE_TRACE_CONTEXTS,
};

struct Tables;

impl MigratorTrait for Tables {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(MESSAGING_TABLES),
            Box::new(COUNTED_REDRIVES),
            Box::new(WHOLE_TRACE_CONTEXTS),
            Box::new(KEPT_ORIGINS),
            Box::new(KEPT_ACTIONS),
            Box::new(PARKED_OPERATIONS),
            Box::new(KEPT_PAUSES),
            Box::new(KEPT_ORDER),
            Box::new(KEPT_REQUESTS),
            Box::new(KEPT_CALLS),
            Box::new(KEPT_PROCESSES),
            Box::new(KEPT_REPORTS),
            Box::new(COUNTED_REPEATS),
        ]
    }
}

/// What a test says of a message that the consumer `reader` has parked.
pub(super) struct Parked<'p> {
    pub(super) key: &'p str,
    pub(super) state: State,
    pub(super) kind: &'p str,
}

/// A database with nothing in it, and its folder.
pub(super) async fn open() -> (Database, Scratch) {
    let scratch = Scratch::new("parked").expect("a folder");
    let url = DatabaseUrl::file(&scratch.path().join("parked.db"));
    let database = Database::connect(&url, Limits::default()).await.expect("a database");
    database.migrate::<Tables>().await.expect("tables");
    (database, scratch)
}

#[expect(clippy::disallowed_methods, reason = "any id will do")]
pub(super) async fn park(database: &Database, parked: Parked<'_>) {
    let (Parked { key, state, kind }, id) = (parked, Uuid::now_v7().simple());
    let state = state as i16;
    let sql = format!(
        "INSERT INTO parked (consumer, state, message_id, kind, source, partition_key, payload, error, attempts, park_time)
         VALUES ('reader', {state}, X'{id}', '{kind}', '', '{key}', X'', '', 1, 0)"
    );
    database.execute_unflushed(sql).await.expect("a row");
}
