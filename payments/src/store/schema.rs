//! The schema: constraints make a wrong row impossible, whoever writes it.

use messaging::schema::{
    COUNTED_REDRIVES, COUNTED_REPEATS, KEPT_ACTIONS, KEPT_CALLS, KEPT_ORDER, KEPT_ORIGINS, KEPT_PAUSES,
    KEPT_PROCESSES, KEPT_REPORTS, KEPT_REQUESTS, KEPT_WHOLE, MESSAGING_TABLES, PARKED_OPERATIONS,
    WHOLE_TRACE_CONTEXTS,
};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use storage::schema::{AppendOnly, NeverReplaced, Owner, Statements};

/// Every migration of the payments database, in order.
#[derive(Debug, Clone, Copy)]
pub struct Migrations;

impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(Owner::new("payments")),
            Box::new(MESSAGING_TABLES),
            Box::new(Statements::new("m0002_ledger", TABLES)),
            Box::new(Statements::new("m0003_accounts_by_bytes", &[]).on_postgres(&[ACCOUNTS_BY_BYTES])),
            Box::new(COUNTED_REDRIVES),
            Box::new(WHOLE_TRACE_CONTEXTS),
            Box::new(KEPT_ORIGINS),
            Box::new(KEPT_ACTIONS),
            Box::new(Statements::new("m0004_booked_by", BOOKED_BY)),
            Box::new(AppendOnly::new("m0005_append_only_books", &["ledger_entries", "payments"])),
            Box::new(PARKED_OPERATIONS),
            Box::new(KEPT_PAUSES),
            Box::new(KEPT_ORDER),
            Box::new(KEPT_REQUESTS),
            Box::new(KEPT_CALLS),
            Box::new(KEPT_PROCESSES),
            Box::new(Statements::new("m0006_booked_in", BOOKED_IN)),
            Box::new(KEPT_WHOLE),
            Box::new(NeverReplaced::new("m0007_books_never_replaced", &["ledger_entries", "payments"])),
            Box::new(KEPT_REPORTS),
            Box::new(COUNTED_REPEATS),
        ]
    }
}

const TABLES: &[&str] = &[
    // 9007199254740991 is 2^53 - 1.
    "CREATE TABLE accounts (
        user_id TEXT PRIMARY KEY CHECK (length(user_id) BETWEEN 1 AND 64),
        balance {int} NOT NULL CHECK (balance BETWEEN 0 AND 9007199254740991),
        currency_code TEXT NOT NULL CHECK (length(currency_code) = 3),
        version {int} NOT NULL CHECK (version >= 0),
        create_time {int} NOT NULL,
        update_time {int} NOT NULL,
        request_id TEXT,
        fingerprint {bytes},
        CHECK ((request_id IS NULL) = (fingerprint IS NULL))
    ) {strict}",
    "CREATE TABLE ledger_entries (
        id {uuid} PRIMARY KEY,
        user_id TEXT NOT NULL REFERENCES accounts (user_id),
        sequence {int} NOT NULL CHECK (sequence >= 1),
        entry_type {code} NOT NULL,
        amount {int} NOT NULL,
        balance_after {int} NOT NULL CHECK (balance_after BETWEEN 0 AND 9007199254740991),
        order_id {uuid} UNIQUE,
        request_id TEXT,
        fingerprint {bytes},
        counter_account TEXT NOT NULL,
        create_time {int} NOT NULL,
        UNIQUE (user_id, sequence),
        UNIQUE (user_id, request_id),
        CHECK ((request_id IS NULL) = (fingerprint IS NULL)),
        CHECK (
            (entry_type = 1 AND amount > 0 AND order_id IS NULL AND counter_account = 'system:cash-in')
            OR (entry_type = 2 AND amount < 0 AND order_id IS NOT NULL AND request_id IS NULL
                AND counter_account = 'system:order-revenue')
        )
    ) {strict}",
    "CREATE TABLE payments (
        order_id {uuid} PRIMARY KEY,
        user_id TEXT NOT NULL,
        amount {int} NOT NULL CHECK (amount > 0),
        currency_code TEXT NOT NULL,
        outcome {code} NOT NULL CHECK (outcome IN (1, 2, 3)),
        reason {code} CHECK (reason IN (1, 2, 3, 4, 5)),
        account_version {int},
        balance_observed {int},
        ledger_entry_id {uuid} UNIQUE REFERENCES ledger_entries (id),
        decide_time {int} NOT NULL,
        CHECK ((outcome = 1) = (ledger_entry_id IS NOT NULL)),
        CHECK ((outcome = 1) = (reason IS NULL)),
        CHECK (reason IS NULL OR (outcome = 3) = (reason >= 4)),
        CHECK ((account_version IS NULL) = (balance_observed IS NULL)),
        CHECK (outcome <> 1 OR balance_observed >= amount),
        CHECK (reason <> 1 OR balance_observed < amount)
    ) {strict}",
    service::page::KEY_TABLE,
];

/// Lists of accounts go by the bytes of the user ids, as they do on SQLite: the order of a language depends on the server, and changes
/// with its libraries. Beside the primary key: a column with another collation would end the statements that a running version has
/// prepared.
const ACCOUNTS_BY_BYTES: &str = "CREATE UNIQUE INDEX accounts_by_bytes ON accounts (user_id COLLATE \"C\")";

/// On whose behalf an entry was booked. Versions that do not know the columns leave them empty, and so does who calls without a token; such
/// an entry costs the index nothing.
const BOOKED_BY: &[&str] = &[
    "ALTER TABLE ledger_entries ADD COLUMN subject TEXT",
    "ALTER TABLE ledger_entries ADD COLUMN token_id TEXT",
    "ALTER TABLE ledger_entries ADD COLUMN trace_id TEXT",
    "CREATE INDEX ledger_by_subject ON ledger_entries (subject, id) WHERE subject IS NOT NULL",
];

/// The request by which it was caused, likewise.
const BOOKED_IN: &[&str] = &["ALTER TABLE ledger_entries ADD COLUMN x_request_id TEXT"];
