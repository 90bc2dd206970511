//! What orders writes and reads, on both databases.

mod again;
mod applied;
mod asked;
mod clock;
mod plans;
mod stored;
mod upgrade;
