//! The schema.

use messaging::schema::{
    COUNTED_REDRIVES, COUNTED_REPEATS, KEPT_ACTIONS, KEPT_CALLS, KEPT_ORDER, KEPT_ORIGINS, KEPT_PAUSES,
    KEPT_PROCESSES, KEPT_REPORTS, KEPT_REQUESTS, KEPT_WHOLE, MESSAGING_TABLES, PARKED_OPERATIONS,
    WHOLE_TRACE_CONTEXTS,
};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use storage::schema::{Owner, Statements};

/// Every migration of the shipping database, in order.
#[derive(Debug, Clone, Copy)]
pub struct Migrations;

impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(Owner::new("shipping")),
            Box::new(MESSAGING_TABLES),
            Box::new(COUNTED_REDRIVES),
            Box::new(WHOLE_TRACE_CONTEXTS),
            Box::new(KEPT_ORIGINS),
            Box::new(KEPT_ACTIONS),
            Box::new(Statements::new("m0002_shipments", TABLES)),
            Box::new(PARKED_OPERATIONS),
            Box::new(KEPT_PAUSES),
            Box::new(KEPT_ORDER),
            Box::new(KEPT_REQUESTS),
            Box::new(KEPT_CALLS),
            Box::new(KEPT_PROCESSES),
            Box::new(KEPT_WHOLE),
            Box::new(KEPT_REPORTS),
            Box::new(COUNTED_REPEATS),
        ]
    }
}

const TABLES: &[&str] = &[
    "CREATE TABLE shipments (order_id {uuid} PRIMARY KEY, user_id TEXT NOT NULL, create_time {int} NOT NULL) {strict}",
    service::page::KEY_TABLE,
];
