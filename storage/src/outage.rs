//! An outage as the log has it: a line when it begins, one now and then while it lasts, and one when it is over.

use std::time::{Duration, Instant};

/// How often it is logged again: it explains itself, and whoever tries again does so all the time.
const AGAIN: Duration = Duration::from_secs(60);

/// Whether something that is tried again and again fails at present.
#[derive(Debug, Default)]
pub struct Outage {
    /// When it was logged last, as long as it lasts.
    logged: Option<Instant>,
}

impl Outage {
    /// An attempt has failed. Returns whether to log that.
    pub fn fails(&mut self) -> bool {
        let due = self.logged.is_none_or(|logged| logged.elapsed() >= AGAIN);
        if due {
            self.logged = Some(Instant::now());
        }
        due
    }

    /// An attempt has worked. Returns whether the one before had failed, which is over now: to log that.
    pub fn ends(&mut self) -> bool {
        self.logged.take().is_some()
    }
}
