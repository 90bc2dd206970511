//! What storage guarantees, on real databases.

mod abandoned;
mod commits;
mod faults;
mod group_commit;
mod late;
mod locked;
mod migrations;
mod pinned;
mod planted;
mod postgres_statements;
mod refused;
mod rehearsal;
mod rows;
mod silent;
mod single_statements;
