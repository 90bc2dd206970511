//! What a request got wrong: everything at once, bounded, or passed over and named when the edge is lenient.

use std::fmt;

use super::memory::Memory;

/// What violations of the body as a whole are called.
pub(crate) const BODY: &str = "body";

/// A request that cannot become a message, with everything that is wrong with it; there is one violation at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// The worst of its violations.
    pub kind: RequestErrorKind,
    /// The fields at fault, in the order in which they were found; no more than 64 of them.
    pub violations: Vec<Violation>,
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestErrorKind {
    /// A part of it cannot be read: malformed JSON, a wrong type, an unknown name.
    Unreadable,
    /// It can be read, and a field cannot be right.
    Invalid,
    /// Its body holds more than there is memory for: what becomes of it is bounded as its text is.
    TooLarge,
}

/// One field at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field in the request, such as `order.amount`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl std::error::Error for RequestError {}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Violation { field, description }) = self.violations.first() else { return Ok(()) };
        write!(f, "{field}: {description}")
    }
}

/// Violations that one answer names at most.
const MAX_VIOLATIONS: usize = 64;

/// Ignored names that one answer lists at most, so that the header stays small.
const MAX_IGNORED: usize = 32;

/// Characters of a name sent by a client that an answer repeats at most.
const MAX_NAME: usize = 128;

/// What binding a request found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lenient: bool,
    unreadable: bool,
    violations: Vec<Violation>,
    ignored: Vec<String>,
    /// What the request may still take.
    pub(crate) memory: Memory,
}

impl Report {
    /// A report without entries; a lenient one passes over unknown names.
    #[must_use]
    pub(crate) fn new(lenient: bool) -> Self {
        Self { lenient, ..Self::default() }
    }

    /// Notes a value that cannot be read.
    pub(crate) fn unreadable(&mut self, field: &str, description: impl Into<String>) {
        self.unreadable = true;
        self.violation(field, description.into());
    }

    /// Notes a value that can be read but cannot be right.
    pub(crate) fn invalid(&mut self, field: &str, description: impl Into<String>) {
        self.violation(field, description.into());
    }

    /// Notes a name that the contract does not know.
    pub(crate) fn unknown(&mut self, name: &str, description: impl Into<String>) {
        if !self.lenient {
            self.unreadable(name, description);
        } else if self.ignored.len() < MAX_IGNORED {
            self.ignored.push(clip(name));
        }
    }

    /// Whether what is wrong is not noted any more: whatever follows, the request is refused with what is noted.
    pub(crate) fn is_full(&self) -> bool {
        self.violations.len() >= MAX_VIOLATIONS
    }

    /// The names that were passed over; the error when something was wrong.
    ///
    /// # Errors
    /// Every violation noted; it is unreadable if any part of it is. Of what is too large the rest is not known.
    pub(crate) fn finish(self) -> Result<Vec<String>, RequestError> {
        if self.memory.is_exhausted() {
            let description = "holds more values than there is memory for".to_owned();
            let violations = vec![Violation { field: BODY.to_owned(), description }];
            return Err(RequestError { kind: RequestErrorKind::TooLarge, violations });
        }
        if self.violations.is_empty() {
            return Ok(self.ignored);
        }
        let kind = if self.unreadable { RequestErrorKind::Unreadable } else { RequestErrorKind::Invalid };
        Err(RequestError { kind, violations: self.violations })
    }

    fn violation(&mut self, field: &str, description: String) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(Violation { field: clip(field), description });
        }
    }
}

/// A client's own words, short enough to be repeated.
#[must_use]
pub(crate) fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_and_names_are_bounded() {
        let mut strict = Report::new(false);
        (0..1_000).for_each(|n| strict.unknown(&format!("{n}{}", "x".repeat(1_000)), "is unknown"));
        let error = strict.finish().expect_err("there are violations");
        assert_eq!((error.kind, error.violations.len()), (RequestErrorKind::Unreadable, MAX_VIOLATIONS));
        assert!(error.violations.iter().all(|at| at.field.chars().count() == MAX_NAME + 1));

        let mut lenient = Report::new(true);
        (0..1_000).for_each(|n| lenient.unknown(&n.to_string(), "is unknown"));
        assert_eq!(lenient.finish().expect("nothing is wrong").len(), MAX_IGNORED);
    }

    #[test]
    fn what_cannot_be_read_goes_before_what_cannot_be_right() {
        let mut report = Report::new(false);
        report.invalid("request_id", "differs");
        report.unreadable("amount", "must be a number");
        let error = report.finish().expect_err("there are violations");
        assert_eq!((error.kind, error.violations.len()), (RequestErrorKind::Unreadable, 2));
    }
}
