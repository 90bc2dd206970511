//! What a request takes on its way to wire bytes, where it goes by a tree of JSON and by messages of prost-reflect: many times as much memory as
//! its text. So it is counted as it is made, as what responses take is.

use std::cell::Cell;

use crate::reflect::decode::{MESSAGE, MOST_BYTES, VALUE};

/// What a value in an array of JSON takes, about, and a member of an object beside its name, which is there twice.
const ITEM: usize = 64;
const MEMBER: usize = 256;

/// What may still be taken, in bytes; `None` once there was not enough.
#[derive(Debug)]
pub(crate) struct Memory(Cell<Option<usize>>);

impl Default for Memory {
    fn default() -> Self {
        Self(Cell::new(Some(MOST_BYTES)))
    }
}

impl Memory {
    /// Whether something did not fit.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.0.get().is_none()
    }

    /// A value in an array of JSON.
    pub(crate) fn item(&self) -> Option<()> {
        self.take(ITEM)
    }

    /// A member of an object of JSON.
    pub(crate) fn member(&self, name: &str) -> Option<()> {
        self.take(MEMBER + 2 * name.len())
    }

    /// A text.
    pub(crate) fn text(&self, text: &str) -> Option<()> {
        self.take(text.len())
    }

    /// A message.
    pub(crate) fn message(&self) -> Option<()> {
        self.take(MESSAGE)
    }

    /// So many values of a message or of a list in one.
    pub(crate) fn values(&self, count: usize) -> Option<()> {
        self.take(count.saturating_mul(VALUE))
    }

    fn take(&self, bytes: usize) -> Option<()> {
        let left = self.0.get().and_then(|left| left.checked_sub(bytes));
        self.0.set(left);
        left.map(drop)
    }
}
