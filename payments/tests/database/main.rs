//! What payments writes and reads, on both databases.

mod kept;
mod optimistic;
mod plans;
mod previewed;
mod tampered;
