//! The tables of messaging, for a service to put into its own migrations.

use sea_orm::DbErr;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait::async_trait};

const TABLES: &[&str] = &[
    "CREATE TABLE outbox (
        seq {serial},
        message_id {uuid} NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        partition_key TEXT NOT NULL,
        payload {bytes} NOT NULL,
        traceparent TEXT,
        create_time {int} NOT NULL,
        state {code} NOT NULL CHECK (state IN (0, 1)),
        attempts INTEGER NOT NULL CHECK (attempts >= 0),
        next_attempt_time {int} NOT NULL,
        last_error TEXT
    ) {strict}",
    // Rows leave in this order; those never tried have the time 0.
    "CREATE INDEX outbox_due ON outbox (next_attempt_time, seq)",
    // What can hold back later rows of its key; usually nothing.
    "CREATE INDEX outbox_tried ON outbox (partition_key, seq) WHERE next_attempt_time > 0",
    "CREATE TABLE inbox (
        message_id {uuid} NOT NULL,
        consumer TEXT NOT NULL,
        receive_time {int} NOT NULL,
        PRIMARY KEY (message_id, consumer)
    ) {strict}",
    // Rows are forgotten in this order.
    "CREATE INDEX inbox_age ON inbox (receive_time)",
    "CREATE TABLE parked (
        seq {serial},
        consumer TEXT NOT NULL,
        state {code} NOT NULL CHECK (state IN (0, 1, 2)),
        message_id {uuid},
        kind TEXT NOT NULL,
        source TEXT NOT NULL,
        partition_key TEXT NOT NULL,
        payload {bytes} NOT NULL,
        traceparent TEXT,
        headers TEXT,
        create_time {int},
        error TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        park_time {int} NOT NULL,
        UNIQUE (consumer, message_id)
    ) {strict}",
    // What goes back to its consumer; usually nothing.
    "CREATE INDEX parked_leaving ON parked (consumer, seq) WHERE state > 0",
    "CREATE TABLE operator_actions (
        seq {serial},
        operator TEXT NOT NULL,
        action TEXT NOT NULL,
        filter TEXT NOT NULL,
        affected {int} NOT NULL,
        act_time {int} NOT NULL
    ) {strict}",
    storage::lease::TABLE,
];

/// Makes the tables `outbox`, `inbox`, `parked`, `operator_actions` and `leases`.
#[derive(Debug, Clone, Copy)]
pub struct MessagingTables;

impl MigrationName for MessagingTables {
    fn name(&self) -> &'static str {
        "m0001_messaging"
    }
}

#[async_trait]
impl MigrationTrait for MessagingTables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        storage::schema::run(manager, TABLES).await
    }
}
