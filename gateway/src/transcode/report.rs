//! What a request got wrong: everything at once, bounded, or passed over and named when the edge is lenient.

use chassis::status::{Fault, Reason, Violation};

/// Violations that one answer names at most.
const MAX_VIOLATIONS: usize = 64;

/// Ignored names that one answer lists at most, so that the header stays small.
const MAX_IGNORED: usize = 32;

/// Characters of a name sent by a client that an answer repeats at most.
const MAX_NAME: usize = 128;

/// What binding a request found.
#[derive(Debug, Default)]
pub(super) struct Report {
    lenient: bool,
    unreadable: bool,
    violations: Vec<Violation>,
    ignored: Vec<String>,
}

impl Report {
    /// A report without entries; a lenient one passes over unknown names.
    #[must_use]
    pub(super) fn new(lenient: bool) -> Self {
        Self { lenient, ..Self::default() }
    }

    /// Whether unknown names are passed over.
    #[must_use]
    pub(super) fn lenient(&self) -> bool {
        self.lenient
    }

    /// Notes a value that cannot be read: MALFORMED_REQUEST.
    pub(super) fn unreadable(&mut self, field: &str, description: impl Into<String>) {
        self.unreadable = true;
        self.violation(field, description.into());
    }

    /// Notes a value that can be read but cannot be right: INVALID_FIELD, unless something else is unreadable.
    pub(super) fn invalid(&mut self, field: &str, description: impl Into<String>) {
        self.violation(field, description.into());
    }

    /// Notes a name that the contract does not know.
    pub(super) fn unknown(&mut self, name: &str, description: impl Into<String>) {
        if !self.lenient {
            self.unreadable(name, description);
        } else if self.ignored.len() < MAX_IGNORED {
            self.ignored.push(clip(name));
        }
    }

    /// The names that were passed over; the fault when something was wrong.
    ///
    /// # Errors
    /// Every violation noted, with the reason MALFORMED_REQUEST or INVALID_FIELD.
    pub(super) fn finish(self) -> Result<Vec<String>, Fault> {
        let Some(first) = self.violations.first() else { return Ok(self.ignored) };
        let reason = if self.unreadable { Reason::MalformedRequest } else { Reason::InvalidField };
        let message = format!("{}: {}", first.field, first.description);
        Err(Fault { violations: self.violations, ..Fault::new(reason, message) })
    }

    fn violation(&mut self, field: &str, description: String) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(Violation { field: clip(field), description });
        }
    }
}

/// A client's own words, short enough to be repeated.
#[must_use]
pub(super) fn clip(text: &str) -> String {
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
        let fault = strict.finish().expect_err("there are violations");
        assert_eq!((fault.reason, fault.violations.len()), (Reason::MalformedRequest, MAX_VIOLATIONS));
        assert!(fault.violations.iter().all(|at| at.field.chars().count() == MAX_NAME + 1));

        let mut lenient = Report::new(true);
        (0..1_000).for_each(|n| lenient.unknown(&n.to_string(), "is unknown"));
        assert_eq!(lenient.finish().expect("nothing is wrong").len(), MAX_IGNORED);
    }

    #[test]
    fn what_cannot_be_read_goes_before_what_cannot_be_right() {
        let mut report = Report::new(false);
        report.invalid("request_id", "differs");
        report.unreadable("amount", "must be a number");
        let fault = report.finish().expect_err("there are violations");
        assert_eq!((fault.reason, fault.violations.len()), (Reason::MalformedRequest, 2));
    }
}
