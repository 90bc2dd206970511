//! Standard output. Whoever closes it has read enough: that is no error, and the exit status says what was found all the same.

use std::io::{self, ErrorKind, Write as _, stdout};

use anyhow::Context as _;

/// Prints lines.
///
/// # Errors
/// When they cannot be written, though somebody reads them.
pub(crate) fn lines(lines: &[String]) -> anyhow::Result<()> {
    is_read(lines).map(drop)
}

/// The same, and whether anybody reads on.
///
/// # Errors
/// As [`lines`].
pub(crate) fn is_read(lines: &[String]) -> anyhow::Result<bool> {
    let mut out = stdout().lock();
    let written = lines.iter().try_for_each(|line| writeln!(out, "{line}"));
    whether_read(written.and_then(|()| out.flush()))
}

/// Whether what was written is read.
///
/// # Errors
/// As [`lines`].
pub(crate) fn whether_read(written: io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to standard output"),
    }
}
