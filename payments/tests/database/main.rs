//! What payments writes and reads, on both databases.

mod kept;
mod optimistic;
mod plans;
mod previewed;
mod tampered;

use storage::{
    Database,
    group::{Batch, GroupCommit},
};

/// The way to a writer, which runs as long as the test does.
fn writer<B: Batch>(database: &Database, batch: B) -> GroupCommit<B> {
    let (group, writer) = GroupCommit::new(database.clone(), batch);
    tokio::spawn(writer);
    group
}
