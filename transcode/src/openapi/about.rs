//! What a document is made for: routes with what is known of them, and what is said of the whole.

use crate::routes::route::Route;

/// A route that a document is about.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'r> {
    /// What it is.
    pub route: &'r Route,
    /// The authority of its service, for command lines.
    pub authority: &'r str,
    /// The scope that a token for it needs; `None` for any token.
    pub scope: Option<&'r str>,
    /// The path of the text in a request that names whose data it is about. Where callers need tokens it may be left out: it is the caller then.
    pub owner: Option<&'r str>,
    /// How a call can fail, as far as it is known.
    pub failures: &'r [Failure],
}

/// What a document says of the whole.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// What it is about.
    pub title: &'a str,
    /// In Markdown.
    pub description: &'a str,
    /// Who is to be written to, where anybody is known.
    pub contact: Option<&'a str>,
    /// The name of the licence and its identifier in SPDX, where one is known.
    pub license: Option<[&'a str; 2]>,
    /// Whether callers need a token,
    pub tokens: Tokens,
    /// and which.
    pub token: &'a str,
    /// What is served beside the routes.
    pub habits: Habits,
}

/// What a server of routes does beside them.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// A request may say how long it waits.
    pub times: bool,
    /// Answers to reads have an entity tag.
    pub tags: bool,
    /// An answer that is one again says so.
    pub replays: bool,
    /// Errors are those of AIP-193 too, and not problem details alone.
    pub errors: bool,
}

/// Whether callers need a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// For none: nobody is asked who calls.
    None,
    /// For every operation.
    Needed,
    /// They are passed on, and the services decide.
    Optional,
}

/// How a call can fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The status.
    pub status: u16,
    /// The reason, in capital letters.
    pub reason: String,
}

/// Whether what has this status may pass by itself: the answer says when to try again.
pub(crate) const fn may_pass(status: u16) -> bool {
    matches!(status, 429 | 503)
}
