//! What payments writes and reads, on both databases.

mod kept;
mod optimistic;
mod previewed;
mod tampered;
