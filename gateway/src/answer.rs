//! What an answer says: a message or bytes as they are, what is known of a write without one, and errors.

pub(crate) mod problem;
pub(crate) mod outcome;
pub(crate) mod etag;
pub(crate) mod payload;
pub(crate) mod refusal;
