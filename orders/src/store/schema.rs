//! The schema: constraints make a wrong row impossible, whoever writes it.

use messaging::schema::{
    COUNTED_REDRIVES, COUNTED_REPEATS, KEPT_ACTIONS, KEPT_CALLS, KEPT_ORDER, KEPT_ORIGINS, KEPT_PAUSES,
    KEPT_PROCESSES, KEPT_REPORTS, KEPT_REQUESTS, KEPT_WHOLE, MESSAGING_TABLES, PARKED_OPERATIONS,
    WHOLE_TRACE_CONTEXTS,
};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use storage::schema::{Owner, Statements};

/// Every migration of the orders database, in order.
#[derive(Debug, Clone, Copy)]
pub struct Migrations;

impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(Owner::new("orders")),
            Box::new(MESSAGING_TABLES),
            Box::new(Statements::new("m0002_orders", TABLES).on_postgres(&[CHANGE_NUMBER])),
            Box::new(Statements::new("m0003_asking", ASKING)),
            Box::new(Statements::new("m0004_ask_due_time", ASK_DUE_TIME)),
            Box::new(COUNTED_REDRIVES),
            Box::new(WHOLE_TRACE_CONTEXTS),
            Box::new(KEPT_ORIGINS),
            Box::new(KEPT_ACTIONS),
            Box::new(Statements::new("m0005_placed_by", PLACED_BY)),
            Box::new(PARKED_OPERATIONS),
            Box::new(KEPT_PAUSES),
            Box::new(KEPT_ORDER),
            Box::new(Statements::new("m0006_differences", DIFFERENCES)),
            Box::new(KEPT_REQUESTS),
            Box::new(KEPT_CALLS),
            Box::new(KEPT_PROCESSES),
            Box::new(Statements::new("m0007_placed_in", PLACED_IN)),
            Box::new(KEPT_WHOLE),
            Box::new(KEPT_REPORTS),
            Box::new(COUNTED_REPEATS),
        ]
    }
}

const TABLES: &[&str] = &[
    "CREATE TABLE orders (
        id {uuid} PRIMARY KEY,
        user_id TEXT NOT NULL CHECK (length(user_id) BETWEEN 1 AND 64),
        amount {int} NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000),
        currency_code TEXT NOT NULL CHECK (length(currency_code) = 3),
        description TEXT NOT NULL CHECK (length(description) <= 1024),
        status {code} NOT NULL CHECK (status IN (1, 2, 3)),
        cancel_reason {code} CHECK (cancel_reason IN (1, 2, 3, 4, 5)),
        create_time {int} NOT NULL,
        update_time {int} NOT NULL CHECK (update_time >= create_time),
        expire_time {int} NOT NULL,
        cancel_request_time {int},
        cancel_request_id TEXT,
        void_due_time {int} NOT NULL,
        version {int} NOT NULL,
        change_number {int} NOT NULL,
        ledger_entry_id {uuid},
        request_id TEXT,
        fingerprint {bytes},
        CHECK (cancel_request_id IS NULL OR cancel_request_time IS NOT NULL),
        -- Placed, its cancellation requested, ended: each at most once.
        CHECK (version = 1 + (CASE WHEN cancel_request_time IS NULL THEN 0 ELSE 1 END)
            + (CASE WHEN status = 1 THEN 0 ELSE 1 END)),
        CHECK (cancel_reason IS NULL OR cancel_reason <> 4 OR cancel_request_time IS NOT NULL),
        CHECK ((request_id IS NULL) = (fingerprint IS NULL)),
        CHECK ((status = 2) = (ledger_entry_id IS NOT NULL)),
        CHECK ((status = 3) = (cancel_reason IS NOT NULL))
    ) {strict}",
    // Ids sort by the time of placing, so each of these is a list in the order that lists are read.
    "CREATE INDEX orders_of_user ON orders (user_id, id)",
    "CREATE INDEX orders_by_status ON orders (status, id)",
    "CREATE INDEX orders_by_amount ON orders (amount, id)",
    // An order without a key costs these nothing. The key comes first, so that it is found without its user too.
    "CREATE UNIQUE INDEX orders_by_request ON orders (request_id, user_id) WHERE request_id IS NOT NULL",
    "CREATE UNIQUE INDEX orders_by_cancel_request ON orders (cancel_request_id, user_id)
        WHERE cancel_request_id IS NOT NULL",
    "CREATE INDEX orders_by_cancel_reason ON orders (cancel_reason, id) WHERE cancel_reason IS NOT NULL",
    // Only what is not decided: it stays small however many orders there are.
    "CREATE INDEX orders_to_expire ON orders (void_due_time) WHERE status = 1",
    "CREATE INDEX orders_by_change ON orders (change_number)",
    service::page::KEY_TABLE,
];

/// The number of a change, when the statement that makes it does not name it.
const CHANGE_NUMBER: &str =
    "ALTER TABLE orders ALTER COLUMN change_number SET DEFAULT pg_current_xact_id()::text::bigint";

const ASKING: &[&str] = &[
    // A key is never forgotten, and neither is an order.
    "CREATE TABLE cancellation_keys (
        user_id TEXT NOT NULL,
        request_id TEXT NOT NULL,
        order_id {uuid} NOT NULL,
        PRIMARY KEY (user_id, request_id)
    ) {strict}",
    "ALTER TABLE orders ADD COLUMN asked_message_id {uuid}",
];

const ASK_DUE_TIME: &[&str] = &[
    // A version that does not know the column places orders meanwhile: they are due at once.
    "ALTER TABLE orders ADD COLUMN ask_due_time {int} NOT NULL DEFAULT 0",
    // Only what is not decided. It stands in for orders_to_expire: a version that still looks for void_due_time finds the undecided orders
    // in another index, and each order has one entry less to write.
    "CREATE INDEX orders_to_ask ON orders (ask_due_time) WHERE status = 1",
    "DROP INDEX orders_to_expire",
    // An unreleased version kept the time for asking in here, which the one before would take for that of the void.
    "UPDATE orders SET void_due_time = expire_time WHERE status = 1 AND void_due_time < expire_time",
];

/// Who has placed an order, for messages that ask for its payment again. Versions that do not know the columns leave them empty.
const PLACED_BY: &[&str] =
    &["ALTER TABLE orders ADD COLUMN subject TEXT", "ALTER TABLE orders ADD COLUMN token_id TEXT"];

/// The request by which an order was placed, likewise.
const PLACED_IN: &[&str] = &["ALTER TABLE orders ADD COLUMN x_request_id TEXT"];

/// What orders and payments have stored otherwise. Versions before know nothing of it.
const DIFFERENCES: &[&str] = &[
    "CREATE TABLE reconciliation_differences (
        order_id {uuid} PRIMARY KEY,
        kind {code} NOT NULL CHECK (kind IN (1, 2, 3, 4)),
        orders_has {bytes},
        payments_has {bytes},
        find_time {int} NOT NULL,
        heal_time {int},
        heal_attempts INTEGER NOT NULL CHECK (heal_attempts >= 0),
        next_heal_time {int},
        message_id {uuid}
    ) {strict}",
    // Only what is there; usually nothing.
    "CREATE INDEX differences_there ON reconciliation_differences (order_id) WHERE heal_time IS NULL",
];
