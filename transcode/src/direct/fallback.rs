//! Why the flat tables make no JSON of a message.

/// Why there is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoJson {
    /// The reflective path has to look at it.
    Fallback,
    /// A Timestamp or a Duration is out of its range and has no JSON form.
    OutOfRange,
    /// It would be longer than it may be.
    TooLong,
}
