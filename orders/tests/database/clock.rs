//! A clock that stands still.

use chassis::clock::{Clock, Micros, SystemClock};
use uuid::Uuid;

/// It is always this moment; ids are new all the same.
#[derive(Debug)]
pub(crate) struct At(pub(crate) Micros);

impl Clock for At {
    fn now(&self) -> Micros {
        self.0
    }

    fn new_id(&self) -> Uuid {
        SystemClock.new_id()
    }
}
